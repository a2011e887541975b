#include "server/retrieval_service.h"

#include <atomic>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "index/status_macros.h"
#include "server/error_details.h"
#include "server/field_checks.h"
#include "server/request_parser.h"

namespace dime {
namespace {

using SearchPointer = std::shared_ptr<const SearchExecutor::Search>;

template <typename Response>
SearchReport ReportOf(const SearchAnswer<Response>& answer, absl::Duration scheduled) {
  return {
      .scheduled = scheduled, .stats = answer.stats, .degraded = answer.response.has_degradation()};
}

// The queries of a batch on their way, all by one revision. Each task writes its own result;
// whoever is the last ends the call.
template <typename BatchResponse, typename Execute>
class Batch {
 public:
  Batch(UnaryCall* call, Execute execute, absl::Duration retry_delay, int count)
      : call_(call),
        execute_(std::move(execute)),
        retry_delay_(retry_delay),
        searches_(static_cast<size_t>(count)),
        left_(count + 1) {
    for (int i = 0; i < count; ++i) response_.add_results();
  }

  // `scheduled`: when, after the call's start, the query began to wait for a worker.
  void Run(int index, const Leased<SearchPointer>& search, absl::Duration scheduled) {
    auto found = execute_(search.revision->executor(), *search.value, call_->context());
    if (found.ok()) {
      searches_[static_cast<size_t>(index)] = ReportOf(*found, scheduled);
      *response_.mutable_results(index)->mutable_response() = std::move(found->response);
    }
    Settle(index, found.status());
  }
  void Settle(int index, const absl::Status& status) {
    *response_.mutable_results(index)->mutable_outcome() = ToOutcome(status, retry_delay_);
  }
  // A task, or the reaction, has done its part.
  void Leave() {
    if (--left_ != 0) return;
    call_->Searched(std::move(searches_));
    call_->AnswerWith(response_);
  }

 private:
  UnaryCall* const call_;
  const Execute execute_;
  const absl::Duration retry_delay_;
  BatchResponse response_;
  std::vector<std::optional<SearchReport>> searches_;  // by query
  std::atomic<int> left_;                              // tasks, and the reaction that starts them
};

// What a search's response comes from, by its kind of item.
constexpr auto kSearchImages =
    [](const SearchExecutor& executor, const SearchExecutor::Search& search,
       const CallContext& context) { return executor.SearchImages(search, context); };
constexpr auto kSearchCaptions =
    [](const SearchExecutor& executor, const SearchExecutor::Search& search,
       const CallContext& context) { return executor.SearchCaptions(search, context); };

}  // namespace

template <typename Request, typename Execute>
grpc::ServerUnaryReactor* RetrievalService::StartSearch(UnaryCall* call,
                                                        const grpc::ByteBuffer& request,
                                                        Execute execute) {
  if (!call->Open()) return call;
  const RevisionSwitch::Lease revision = parts_.revisions->Current();
  const auto prepare = [&]() -> absl::StatusOr<SearchPointer> {
    ASSIGN_OR_RETURN(const Request parsed,
                     ParseRequest<Request>(request, parts_.max_request_bytes));
    return revision->executor().Prepare(parsed, revision->gallery().Pin(), call->caller());
  };
  const absl::StatusOr<SearchPointer> search = prepare();
  if (call->Admit(search.status())) {
    const auto answer = [call, search = Leased<SearchPointer>{revision, *search}, execute,
                         scheduled = call->Elapsed()] {
      const auto answer = execute(search.revision->executor(), *search.value, call->context());
      if (!answer.ok()) return call->End(answer.status());
      call->Searched(ReportOf(*answer, scheduled));
      call->AnswerWith(answer->response);
    };
    call->Schedule(answer, (*search)->priority());
  }
  return call;
}

template <typename BatchRequest, typename BatchResponse, typename Execute>
grpc::ServerUnaryReactor* RetrievalService::StartBatch(UnaryCall* call,
                                                       const grpc::ByteBuffer& request,
                                                       Execute execute) {
  if (!call->Open()) return call;
  const auto parse = [&]() -> absl::StatusOr<BatchRequest> {
    ASSIGN_OR_RETURN(BatchRequest parsed,
                     ParseRequest<BatchRequest>(request, parts_.max_request_bytes));
    Violations violations;
    CheckCount("requests", parsed.requests_size(), 1, parts_.max_batch_queries, violations);
    if (!violations.empty()) return InvalidRequestError(violations);
    return parsed;
  };
  const absl::StatusOr<BatchRequest> parsed = parse();
  if (!call->Admit(parsed.status())) return call;

  const int count = parsed->requests_size();
  call->CountFor(count - 1);
  const RevisionSwitch::Lease revision = parts_.revisions->Current();
  const auto batch = std::make_shared<Batch<BatchResponse, Execute>>(
      call, std::move(execute), parts_.call.record.retry_delay, count);
  const std::shared_ptr<const GalleryView> view = revision->gallery().Pin();
  const absl::Status full = absl::ResourceExhaustedError("the server's queue of calls is full");
  absl::Status refusal;  // the last for want of room
  int refused = 0;
  for (int i = 0; i < count; ++i) {
    const auto search = revision->executor().Prepare(parsed->requests(i), view, call->caller());
    if (!search.ok()) {
      if (absl::IsResourceExhausted(search.status())) {
        ++refused;
        refusal = search.status();
      }
      batch->Settle(i, search.status());
      batch->Leave();
      continue;
    }
    const auto run = [batch, i, search = Leased<SearchPointer>{revision, *search},
                      scheduled = call->Elapsed()] {
      batch->Run(i, search, scheduled);
      batch->Leave();
    };
    if (!parts_.call.workers->TrySubmit(run, call->caller().client, (*search)->priority())) {
      ++refused;
      refusal = full;
      batch->Settle(i, full);
      batch->Leave();
    }
  }
  if (refused == count) {
    call->End(refusal);
  } else {
    batch->Leave();
  }
  return call;
}

grpc::ServerUnaryReactor* RetrievalService::SearchImages(grpc::CallbackServerContext* context,
                                                         const grpc::ByteBuffer* request,
                                                         grpc::ByteBuffer* response) {
  return StartSearch<v1::SearchImagesRequest>(
      new UnaryCall(parts_.call, RpcMethod::kSearchImages, context, request, response), *request,
      kSearchImages);
}

grpc::ServerUnaryReactor* RetrievalService::SearchCaptions(grpc::CallbackServerContext* context,
                                                           const grpc::ByteBuffer* request,
                                                           grpc::ByteBuffer* response) {
  return StartSearch<v1::SearchCaptionsRequest>(
      new UnaryCall(parts_.call, RpcMethod::kSearchCaptions, context, request, response), *request,
      kSearchCaptions);
}

grpc::ServerUnaryReactor* RetrievalService::BatchSearchImages(grpc::CallbackServerContext* context,
                                                              const grpc::ByteBuffer* request,
                                                              grpc::ByteBuffer* response) {
  return StartBatch<v1::BatchSearchImagesRequest, v1::BatchSearchImagesResponse>(
      new UnaryCall(parts_.call, RpcMethod::kBatchSearchImages, context, request, response),
      *request, kSearchImages);
}

grpc::ServerUnaryReactor* RetrievalService::BatchSearchCaptions(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
    grpc::ByteBuffer* response) {
  return StartBatch<v1::BatchSearchCaptionsRequest, v1::BatchSearchCaptionsResponse>(
      new UnaryCall(parts_.call, RpcMethod::kBatchSearchCaptions, context, request, response),
      *request, kSearchCaptions);
}

grpc::ServerUnaryReactor* RetrievalService::ExplainPair(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* request,
                                                        grpc::ByteBuffer* response) {
  auto* call = new UnaryCall(parts_.call, RpcMethod::kExplainPair, context, request, response);
  if (!call->Open()) return call;
  const RevisionSwitch::Lease revision = parts_.revisions->Current();
  const std::shared_ptr<const GalleryView> view = revision->gallery().Pin();
  const auto convert = [&]() -> absl::StatusOr<ExplainRequest> {
    ASSIGN_OR_RETURN(const v1::ExplainPairRequest parsed,
                     ParseRequest<v1::ExplainPairRequest>(*request, parts_.max_request_bytes));
    return revision->converter().Convert(parsed, *view);
  };
  absl::StatusOr<ExplainRequest> converted = convert();
  if (!call->Admit(converted.status())) return call;
  call->Schedule([call, view = Leased<std::shared_ptr<const GalleryView>>{revision, view},
                  explain = std::make_shared<const ExplainRequest>(*std::move(converted))] {
    const ServingRevision& revision = *view.revision;
    const absl::StatusOr<ExplainedPair> pair =
        revision.explainer().Run(*view.value, explain->pair, explain->mode, call->context());
    if (!pair.ok()) return call->End(BlameQuery(pair.status(), explain->pair));
    const absl::StatusOr<v1::ExplainPairResponse> response =
        revision.writer().WriteExplanation(*view.value, explain->pair, *pair);
    if (response.ok()) return call->Answer(response);
    call->End(absl::InternalError(
        absl::StrCat("reading the items' records failed: ", response.status().message())));
  });
  return call;
}

grpc::ServerUnaryReactor* RetrievalService::GetInfo(grpc::CallbackServerContext* context,
                                                    const grpc::ByteBuffer* request,
                                                    grpc::ByteBuffer* response) {
  auto* call = new UnaryCall(parts_.call, RpcMethod::kGetInfo, context, request, response);
  if (!call->Open()) return call;
  const auto parsed = ParseRequest<v1::GetInfoRequest>(*request, parts_.max_request_bytes);
  if (!call->Admit(parsed.status())) return call;
  const RevisionSwitch::Lease revision = parts_.revisions->Current();
  v1::GetInfoResponse info = revision->info();
  *info.mutable_gallery() = revision->writer().WriteGallery(*revision->gallery().Pin(),
                                                            revision->mutable_gallery() != nullptr);
  call->Answer(absl::StatusOr<v1::GetInfoResponse>(std::move(info)));
  return call;
}

}  // namespace dime
