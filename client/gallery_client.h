#ifndef DIME_CLIENT_GALLERY_CLIENT_H_
#define DIME_CLIENT_GALLERY_CLIENT_H_

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/retrieval_client.h"
#include "dime/v1/gallery.grpc.pb.h"

namespace dime {

// A client of the gallery behind one DIME server: dime.v1.GalleryService of gallery.proto, but for
// its streams, which are ItemUpserter's. Calls are made, retried and reported as RetrievalClient's.
// Thread-safe. The client must outlive it.
class GalleryClient {
 public:
  explicit GalleryClient(const RetrievalClient* client)
      : client_(*client), stub_(v1::GalleryService::NewStub(client->channel())) {}

  // Errors: those of gallery.proto; also UNAVAILABLE if no server answers. `deadline` counts from
  // now; without it, the client's own holds.
  absl::StatusOr<v1::DeleteItemsResponse> DeleteItems(
      const v1::DeleteItemsRequest& request,
      std::optional<absl::Duration> deadline = std::nullopt) const;
  absl::StatusOr<v1::Item> GetItem(const v1::GetItemRequest& request,
                                   std::optional<absl::Duration> deadline = std::nullopt) const;
  absl::StatusOr<v1::ListItemsResponse> ListItems(
      const v1::ListItemsRequest& request,
      std::optional<absl::Duration> deadline = std::nullopt) const;
  absl::StatusOr<v1::GetStatsResponse> GetStats(
      std::optional<absl::Duration> deadline = std::nullopt) const;
  absl::StatusOr<v1::CreateSnapshotResponse> CreateSnapshot(
      const v1::CreateSnapshotRequest& request,
      std::optional<absl::Duration> deadline = std::nullopt) const;

  // For calls by the stub: the client's token.
  void Authorize(grpc::ClientContext& context) const { client_.Authorize(context); }
  v1::GalleryService::Stub& stub() const { return *stub_; }

 private:
  const RetrievalClient& client_;
  const std::unique_ptr<v1::GalleryService::Stub> stub_;
};

}  // namespace dime

#endif  // DIME_CLIENT_GALLERY_CLIENT_H_
