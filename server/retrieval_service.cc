#include "server/retrieval_service.h"

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "model/call_context.h"
#include "server/error_details.h"
#include "server/pipeline/stopwatch.h"
#include "server/request_parser.h"

namespace dime {
namespace {

absl::Time DeadlineOf(const grpc::CallbackServerContext& context) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return absl::InfiniteFuture();
  return absl::FromChrono(deadline);
}

template <typename Response>
absl::Status Serialize(const Response& message, grpc::ByteBuffer& bytes) {
  bool own_buffer;
  const grpc::Status status =
      grpc::SerializationTraits<Response>::Serialize(message, &bytes, &own_buffer);
  if (status.ok()) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("the answer could not be serialized: ", status.error_message()));
}

}  // namespace

// Deletes itself when gRPC has done with it. Between Start() and the end, one thread at a time
// works on it: the reaction, then a worker; OnCancel() may come at any time and touches what is
// atomic alone.
class RetrievalService::Call final : public grpc::ServerUnaryReactor {
 public:
  Call(RetrievalService* service, RpcMethod method, grpc::CallbackServerContext* context,
       grpc::ByteBuffer* response)
      : service_(*service),
        method_(method),
        server_context_(*context),
        response_(*response),
        context_(DeadlineOf(*context)),
        view_(service->parts_.gallery->Pin()) {
    metrics().RequestStarted(method_);
    if (auditor() != nullptr) auditor()->CallStarted();
    std::lock_guard<std::mutex> lock(service_.mutex_);
    ++service_.calls_;
    refused_ = service_.draining_;
  }

  // The version of the gallery that this call sees.
  const GalleryView& view() const { return *view_; }

  // Schedules a search. May end the call at once.
  void StartSearch(absl::StatusOr<SearchRequest> request) {
    if (!Admit(request.status())) return;
    request_ = *std::move(request);
    Schedule([this] { Search(); });
  }

  // Schedules an explanation. May end the call at once.
  void StartExplanation(absl::StatusOr<ExplainRequest> request) {
    if (!Admit(request.status())) return;
    explain_request_ = *std::move(request);
    Schedule([this] { Explain(); });
  }

  void AnswerInfo(const absl::StatusOr<v1::GetInfoRequest>& request) {
    if (refused_) return End(absl::UnavailableError("the server is shutting down"));
    if (!request.ok()) return End(request.status());
    v1::GetInfoResponse info = service_.info_;
    *info.mutable_gallery() = service_.parts_.writer->WriteGallery(*view_);
    End(Serialize(info, response_));
  }

  void OnCancel() override {
    // A call is also cancelled at its deadline, and by a client at its own idea of that, which is
    // earlier by the way of the network.
    constexpr absl::Duration kTolerance = absl::Milliseconds(50);
    if (context_.deadline() - absl::Now() < kTolerance) at_deadline_ = true;
    context_.Cancel();
  }

  void OnDone() override {
    {
      // Notified under the lock: once it is released, the service may be gone.
      std::lock_guard<std::mutex> lock(service_.mutex_);
      if (--service_.calls_ == 0) service_.calls_done_.notify_all();
    }
    delete this;
  }

 private:
  Metrics& metrics() { return *service_.parts_.metrics; }
  RecallAuditor* auditor() { return service_.parts_.auditor; }

  // Ends the call, and is false, if the server is closing or the request is wrong.
  bool Admit(const absl::Status& request) {
    if (!refused_ && request.ok()) return true;
    End(refused_ ? absl::UnavailableError("the server is shutting down") : request);
    return false;
  }

  void Schedule(std::function<void()> work) {
    if (!service_.parts_.workers->TrySubmit(std::move(work))) {
      End(absl::ResourceExhaustedError("the server's queue of searches is full"));
    }
  }

  // A call that was cancelled because its deadline came is told so.
  absl::Status Told(const absl::Status& status) const {
    return absl::IsCancelled(status) && at_deadline_
               ? absl::DeadlineExceededError("the call's deadline has passed")
               : status;
  }

  // On a worker.
  void Search() {
    const absl::Duration queue_time = stopwatch_.Elapsed();
    absl::StatusOr<SearchResult> result =
        service_.parts_.pipeline->Run(*view_, request_.query, request_.options, context_);
    if (!result.ok()) return End(BlameQuery(Told(result.status()), request_.query));
    metrics().SearchAnswered(method_, *result, request_.options, queue_time);
    if (auditor() != nullptr) auditor()->Offer(view_, request_.query, request_.options, *result);
    End(Write(*result, {.queue = queue_time, .total = stopwatch_.Elapsed()}));
  }

  // On a worker.
  void Explain() {
    const PairQuery& query = explain_request_.pair;
    const absl::StatusOr<ExplainedPair> pair =
        service_.parts_.explainer->Run(*view_, query, explain_request_.mode, context_);
    if (!pair.ok()) return End(BlameQuery(Told(pair.status()), query));
    End(SerializeOr(service_.parts_.writer->WriteExplanation(*view_, query, *pair)));
  }

  absl::Status Write(const SearchResult& result, const CallTimings& timings) {
    const ResponseWriter& writer = *service_.parts_.writer;
    if (method_ == RpcMethod::kSearchImages) {
      return SerializeOr(writer.WriteImages(*view_, result, timings, request_.want_details));
    }
    return SerializeOr(writer.WriteCaptions(*view_, result, timings, request_.want_details));
  }

  // The response, or why there is none: records that could not be read.
  template <typename Response>
  absl::Status SerializeOr(const absl::StatusOr<Response>& response) {
    if (response.ok()) return Serialize(*response, response_);
    return absl::InternalError(
        absl::StrCat("reading the items' records failed: ", response.status().message()));
  }

  // The call's last act: gRPC may delete this object before Finish() returns.
  void End(const absl::Status& status) {
    const grpc::Status answer = ToGrpcStatus(status, service_.options_.retry_delay);
    if (answer.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED ||
        answer.error_code() == grpc::StatusCode::UNAVAILABLE) {
      server_context_.AddTrailingMetadata(
          "grpc-retry-pushback-ms",
          absl::StrCat(absl::ToInt64Milliseconds(service_.options_.retry_delay)));
    }
    metrics().RequestFinished(method_, static_cast<absl::StatusCode>(answer.error_code()),
                              stopwatch_.Elapsed());
    if (auditor() != nullptr) auditor()->CallEnded();
    Finish(answer);
  }

  RetrievalService& service_;
  const RpcMethod method_;
  grpc::CallbackServerContext& server_context_;
  grpc::ByteBuffer& response_;
  CallContext context_;
  const std::shared_ptr<const GalleryView> view_;
  std::atomic<bool> at_deadline_{false};  // it was cancelled because its deadline came
  const Stopwatch stopwatch_;
  bool refused_ = false;
  SearchRequest request_;           // of a search
  ExplainRequest explain_request_;  // of an explanation
};

RetrievalService::RetrievalService(const Parts& parts, v1::GetInfoResponse info,
                                   const Options& options)
    : parts_(parts), info_(std::move(info)), options_(options) {}

grpc::ServerUnaryReactor* RetrievalService::SearchImages(grpc::CallbackServerContext* context,
                                                         const grpc::ByteBuffer* request,
                                                         grpc::ByteBuffer* response) {
  auto* call = new Call(this, RpcMethod::kSearchImages, context, response);
  const auto parsed = ParseRequest<v1::SearchImagesRequest>(*request, max_request_bytes());
  call->StartSearch(parsed.ok() ? parts_.converter->Convert(*parsed, call->view())
                                : parsed.status());
  return call;
}

grpc::ServerUnaryReactor* RetrievalService::SearchCaptions(grpc::CallbackServerContext* context,
                                                           const grpc::ByteBuffer* request,
                                                           grpc::ByteBuffer* response) {
  auto* call = new Call(this, RpcMethod::kSearchCaptions, context, response);
  const auto parsed = ParseRequest<v1::SearchCaptionsRequest>(*request, max_request_bytes());
  call->StartSearch(parsed.ok() ? parts_.converter->Convert(*parsed, call->view())
                                : parsed.status());
  return call;
}

grpc::ServerUnaryReactor* RetrievalService::ExplainPair(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* request,
                                                        grpc::ByteBuffer* response) {
  auto* call = new Call(this, RpcMethod::kExplainPair, context, response);
  const auto parsed = ParseRequest<v1::ExplainPairRequest>(*request, max_request_bytes());
  call->StartExplanation(parsed.ok() ? parts_.converter->Convert(*parsed, call->view())
                                     : parsed.status());
  return call;
}

grpc::ServerUnaryReactor* RetrievalService::GetInfo(grpc::CallbackServerContext* context,
                                                    const grpc::ByteBuffer* request,
                                                    grpc::ByteBuffer* response) {
  auto* call = new Call(this, RpcMethod::kGetInfo, context, response);
  call->AnswerInfo(ParseRequest<v1::GetInfoRequest>(*request, max_request_bytes()));
  return call;
}

void RetrievalService::StartDraining() {
  std::lock_guard<std::mutex> lock(mutex_);
  draining_ = true;
}

bool RetrievalService::AwaitCalls(absl::Time deadline) {
  std::unique_lock<std::mutex> lock(mutex_);
  return calls_done_.wait_until(lock, absl::ToChronoTime(deadline), [this] { return calls_ == 0; });
}

}  // namespace dime
