#ifndef DIME_SERVER_RETRIEVAL_SERVICE_H_
#define DIME_SERVER_RETRIEVAL_SERVICE_H_

#include <condition_variable>
#include <mutex>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "dime/v1/retrieval.grpc.pb.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/metrics.h"
#include "server/pipeline/explain_pipeline.h"
#include "server/pipeline/search_pipeline.h"
#include "server/recall_auditor.h"
#include "server/request_converter.h"
#include "server/response_writer.h"
#include "server/worker_pool.h"

namespace dime {

// dime.v1.RetrievalService over gRPC's callback API. A reaction parses, checks and schedules; the
// search, or the explanation, runs on a worker, which finishes the call. A full queue is told at
// once with the time after which to try again (RetryInfo, and the trailer grpc-retry-pushback-ms
// that gRPC's own retries obey). A call that was cancelled or whose deadline has passed stops at
// the next stage. Each call pins one version of the gallery when it comes, and everything about it
// sees that one. Requests come as bytes: see request_parser.h. Thread-safe. Its parts must outlive
// it, and it every call.
class RetrievalService final : public v1::RetrievalService::WithRawCallbackMethod_SearchImages<
                                   v1::RetrievalService::WithRawCallbackMethod_SearchCaptions<
                                       v1::RetrievalService::WithRawCallbackMethod_ExplainPair<
                                           v1::RetrievalService::WithRawCallbackMethod_GetInfo<
                                               v1::RetrievalService::Service>>>> {
 public:
  struct Parts {
    const Gallery* gallery;
    const RequestConverter* converter;
    const SearchPipeline* pipeline;
    const ExplainPipeline* explainer;
    const ResponseWriter* writer;
    WorkerPool* workers;
    Metrics* metrics;
    RecallAuditor* auditor = nullptr;  // null: nothing is audited
  };
  struct Options {
    absl::Duration retry_delay = absl::Milliseconds(250);  // told with RESOURCE_EXHAUSTED etc.
  };

  // `info` is what GetInfo answers, but for the gallery, which is told as it then is.
  RetrievalService(const Parts& parts, v1::GetInfoResponse info, const Options& options);

  grpc::ServerUnaryReactor* SearchImages(grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* SearchCaptions(grpc::CallbackServerContext* context,
                                           const grpc::ByteBuffer* request,
                                           grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ExplainPair(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetInfo(grpc::CallbackServerContext* context,
                                    const grpc::ByteBuffer* request,
                                    grpc::ByteBuffer* response) override;

  // From now on new calls are answered UNAVAILABLE.
  void StartDraining() ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits until every call admitted so far is finished, or the time has come; false for the latter.
  bool AwaitCalls(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  class Call;  // one call, from admission until gRPC has done with it

  int64_t max_request_bytes() const { return info_.limits().max_request_bytes(); }

  const Parts parts_;
  const v1::GetInfoResponse info_;
  const Options options_;
  std::mutex mutex_;
  std::condition_variable calls_done_;
  int64_t calls_ ABSL_GUARDED_BY(mutex_) = 0;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace dime

#endif  // DIME_SERVER_RETRIEVAL_SERVICE_H_
