#ifndef DIME_SERVER_GALLERY_SERVICE_H_
#define DIME_SERVER_GALLERY_SERVICE_H_

#include <mutex>
#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dime/v1/gallery.grpc.pb.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "index/features.h"
#include "server/metrics.h"
#include "server/revision_switch.h"
#include "server/search_limits.h"
#include "server/unary_call.h"
#include "server/upsert_stream.h"

namespace dime {

// dime.v1.GalleryService over gRPC's callback API. Reactions only parse, check and schedule: items
// to write go through the ingest queue, everything else runs on a worker, as it reads or writes the
// disk. Of a gallery that is only read, all calls that would write are refused.
// Requests come as bytes: see request_parser.h.
// Thread-safe. Its parts must outlive it, and it every call.
class GalleryService final
    : public v1::GalleryService::WithRawCallbackMethod_UpsertImages<
          v1::GalleryService::WithRawCallbackMethod_UpsertCaptions<
              v1::GalleryService::WithRawCallbackMethod_DeleteItems<
                  v1::GalleryService::WithRawCallbackMethod_GetItem<
                      v1::GalleryService::WithRawCallbackMethod_ListItems<
                          v1::GalleryService::WithRawCallbackMethod_GetStats<
                              v1::GalleryService::WithRawCallbackMethod_CreateSnapshot<
                                  v1::GalleryService::Service>>>>>>> {
 public:
  struct Parts {
    UnaryCall::Parts call;
    const RevisionSwitch* revisions;
    // Where snapshots are written; empty: nowhere. No caller can name any other place.
    std::string snapshot_directory;
  };

  GalleryService(const Parts& parts, const SearchLimits& limits) : parts_(parts), limits_(limits) {}

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* UpsertImages(
      grpc::CallbackServerContext* context) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* UpsertCaptions(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* DeleteItems(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetItem(grpc::CallbackServerContext* context,
                                    const grpc::ByteBuffer* request,
                                    grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListItems(grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer* request,
                                      grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetStats(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* CreateSnapshot(grpc::CallbackServerContext* context,
                                           const grpc::ByteBuffer* request,
                                           grpc::ByteBuffer* response) override;

 private:
  // Has a worker answer a request by `work(revision, request, context)`; `check(revision, request)`
  // looks at it first, at the door.
  template <typename Request, typename Check, typename Work>
  grpc::ServerUnaryReactor* Start(RpcMethod method, grpc::CallbackServerContext* context,
                                  const grpc::ByteBuffer& request, grpc::ByteBuffer* response,
                                  Check check, Work work);
  template <typename Request>
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartStream(
      RpcMethod method, Modality modality, grpc::CallbackServerContext* context);

  absl::StatusOr<v1::DeleteItemsResponse> Delete(const ServingRevision& revision,
                                                 const v1::DeleteItemsRequest& request) const;
  static absl::StatusOr<v1::Item> Get(const ServingRevision& revision,
                                      const v1::GetItemRequest& request);
  absl::StatusOr<v1::ListItemsResponse> List(const ServingRevision& revision,
                                             const v1::ListItemsRequest& request,
                                             const CallContext& context) const;
  static absl::StatusOr<v1::GetStatsResponse> Stats(const ServingRevision& revision);
  absl::StatusOr<v1::CreateSnapshotResponse> Snapshot(
      const ServingRevision& revision, const v1::CreateSnapshotRequest& request) const;

  // OK if `gallery`, which was written to, is that which serves now. UNAVAILABLE if it was replaced
  // meanwhile: what was written is not found then, and is to be written anew.
  absl::Status CheckServes(const MutableGallery* gallery) const;

  const Parts parts_;
  const SearchLimits limits_;
  mutable std::mutex mutex_;
  mutable std::set<std::string> snapshots_ ABSL_GUARDED_BY(mutex_);  // names of those being made
};

}  // namespace dime

#endif  // DIME_SERVER_GALLERY_SERVICE_H_
