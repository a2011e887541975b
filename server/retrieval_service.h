#ifndef DIME_SERVER_RETRIEVAL_SERVICE_H_
#define DIME_SERVER_RETRIEVAL_SERVICE_H_

#include "dime/v1/retrieval.grpc.pb.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/revision_switch.h"
#include "server/unary_call.h"

namespace dime {

// dime.v1.RetrievalService over gRPC's callback API. A reaction parses, checks and schedules; the
// search, or the explanation, runs on a worker, which finishes the call; of a batch each query is a
// task of its own, and the last to end finishes the call. A call that was cancelled or whose
// deadline has passed stops at the next stage.
// Each call leases one revision and pins one version of its gallery when it comes, and everything
// about it sees these.
// Requests come as bytes: see request_parser.h.
// Thread-safe. Its parts must outlive it, and it every call.
class RetrievalService final
    : public v1::RetrievalService::WithRawCallbackMethod_SearchImages<
          v1::RetrievalService::WithRawCallbackMethod_SearchCaptions<
              v1::RetrievalService::WithRawCallbackMethod_BatchSearchImages<
                  v1::RetrievalService::WithRawCallbackMethod_BatchSearchCaptions<
                      v1::RetrievalService::WithRawCallbackMethod_ExplainPair<
                          v1::RetrievalService::WithRawCallbackMethod_GetInfo<
                              v1::RetrievalService::Service>>>>>> {
 public:
  struct Parts {
    UnaryCall::Parts call;
    const RevisionSwitch* revisions;
    // What holds whatever is served.
    int64_t max_request_bytes;
    int max_batch_queries;
  };

  explicit RetrievalService(const Parts& parts) : parts_(parts) {}

  grpc::ServerUnaryReactor* SearchImages(grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* SearchCaptions(grpc::CallbackServerContext* context,
                                           const grpc::ByteBuffer* request,
                                           grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* BatchSearchImages(grpc::CallbackServerContext* context,
                                              const grpc::ByteBuffer* request,
                                              grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* BatchSearchCaptions(grpc::CallbackServerContext* context,
                                                const grpc::ByteBuffer* request,
                                                grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ExplainPair(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetInfo(grpc::CallbackServerContext* context,
                                    const grpc::ByteBuffer* request,
                                    grpc::ByteBuffer* response) override;

 private:
  // A single search, and a batch of them, of either kind. `execute(executor, search, context)`: the
  // response.
  template <typename Request, typename Execute>
  grpc::ServerUnaryReactor* StartSearch(UnaryCall* call, const grpc::ByteBuffer& request,
                                        Execute execute);
  template <typename BatchRequest, typename BatchResponse, typename Execute>
  grpc::ServerUnaryReactor* StartBatch(UnaryCall* call, const grpc::ByteBuffer& request,
                                       Execute execute);

  const Parts parts_;
};

}  // namespace dime

#endif  // DIME_SERVER_RETRIEVAL_SERVICE_H_
