#include "server/search_executor.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "index/status_macros.h"
#include "server/error_details.h"
#include "server/page_token.h"

namespace dime {
namespace {

// Of all that the requests for the pages of one search have in common.
template <typename Request>
std::string RequestDigest(Request request) {
  v1::SearchOptions& options = *request.mutable_options();
  options.clear_top_k();
  options.clear_page_token();
  options.set_paged(true);
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    request.SerializeToCodedStream(&coded);
  }
  return Digest(absl::StrCat(Request::descriptor()->full_name(), ":", bytes));
}

// `count` hits from `offset` on.
SearchResult CutPage(const SearchResult& result, int64_t offset, int64_t count) {
  SearchResult page = result;
  const int64_t end = std::min<int64_t>(offset + count, static_cast<int64_t>(page.hits.size()));
  page.hits = {result.hits.begin() + offset, result.hits.begin() + end};
  return page;
}

// What reranking so many candidates costs, in evaluations of a direction.
int64_t EvaluationsOf(const SearchOptions& options, int64_t candidates) {
  if (options.fusion_weight >= 1) return 0;
  return candidates * NumDirections(options.mode);
}

// Of a search of a gallery of so many items.
int64_t Evaluations(const SearchOptions& options, int64_t items) {
  return EvaluationsOf(options,
                       options.exact ? items : std::min<int64_t>(items, options.rerank_depth));
}

// The same if time is short.
int64_t EvaluationsAtLeast(const SearchOptions& options, int64_t items) {
  if (options.exact) return Evaluations(options, items);
  if (options.coarse_on_error) return 0;
  return EvaluationsOf(options, std::min<int64_t>(items, options.min_rerank_depth));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const SearchExecutor::Search>> SearchExecutor::Prepare(
    const v1::SearchImagesRequest& request, std::shared_ptr<const GalleryView> view,
    const Caller& caller) const {
  return PrepareAny(request, std::move(view), caller);
}

absl::StatusOr<std::shared_ptr<const SearchExecutor::Search>> SearchExecutor::Prepare(
    const v1::SearchCaptionsRequest& request, std::shared_ptr<const GalleryView> view,
    const Caller& caller) const {
  return PrepareAny(request, std::move(view), caller);
}

template <typename Request>
absl::StatusOr<std::shared_ptr<const SearchExecutor::Search>> SearchExecutor::PrepareAny(
    const Request& request, std::shared_ptr<const GalleryView> view, const Caller& caller) const {
  auto search = std::make_shared<Search>();
  parts_.windows->DropExpired();
  if (request.options().page_token().empty()) {
    ASSIGN_OR_RETURN(search->request, parts_.converter->Convert(request, *view));
    search->priority_ = search->request.priority.value_or(caller.priority);
    const SearchOptions& options = search->request.options;
    Caller of_search = caller;
    of_search.priority = search->priority_;
    const int64_t items = view->size(TargetOf(search->request.query));
    ASSIGN_OR_RETURN(search->ticket, parts_.admission->Admit(of_search, Evaluations(options, items),
                                                             EvaluationsAtLeast(options, items)));
    search->view = std::move(view);
    if (request.options().paged()) search->digest = RequestDigest(request);
    return search;
  }
  ASSIGN_OR_RETURN(search->page, parts_.converter->ConvertPage(request.options()));
  search->window = parts_.windows->Find(search->page.token.window);
  if (search->window == nullptr) {
    parts_.metrics->PageAsked(Metrics::PageOutcome::kExpired);
    return ReasonedError(
        absl::StatusCode::kFailedPrecondition, v1::ERROR_REASON_PAGE_TOKEN_EXPIRED,
        absl::StrCat("options.page_token is of no use any more: tokens last for ",
                     absl::FormatDuration(parts_.windows->ttl()),
                     ", less if the server needs the memory, and on the server that gave them "
                     "alone; search again from the first page"));
  }
  if (search->window->request_digest != RequestDigest(request) ||
      search->page.token.offset > static_cast<int64_t>(search->window->result.hits.size())) {
    parts_.metrics->PageAsked(Metrics::PageOutcome::kInvalid);
    return InvalidRequestError(std::vector<FieldViolation>{
        {"options.page_token", v1::ERROR_REASON_PAGE_TOKEN_INVALID,
         "belongs to a search with other fields; all but top_k must be as they were"}});
  }
  search->view = search->window->view;
  return search;
}

absl::StatusOr<SearchAnswer<v1::SearchImagesResponse>> SearchExecutor::SearchImages(
    const Search& search, const CallContext& context) const {
  return Execute<v1::SearchImagesResponse>(
      RpcMethod::kSearchImages, search, context,
      [this](const GalleryView& view, const SearchResult& result, const CallTimings& timings,
             const HitFields& want) {
        return parts_.writer->WriteImages(view, result, timings, want);
      });
}

absl::StatusOr<SearchAnswer<v1::SearchCaptionsResponse>> SearchExecutor::SearchCaptions(
    const Search& search, const CallContext& context) const {
  return Execute<v1::SearchCaptionsResponse>(
      RpcMethod::kSearchCaptions, search, context,
      [this](const GalleryView& view, const SearchResult& result, const CallTimings& timings,
             const HitFields& want) {
        return parts_.writer->WriteCaptions(view, result, timings, want);
      });
}

template <typename Response, typename Write>
absl::StatusOr<SearchAnswer<Response>> SearchExecutor::Execute(RpcMethod method,
                                                               const Search& search,
                                                               const CallContext& context,
                                                               const Write& write) const {
  const absl::Duration queue_time = search.stopwatch.Elapsed();
  // Given back before the caller hears of the answer: its next search must not find this one.
  const AdmissionControl::Ticket ticket = std::move(search.ticket);
  const bool first_page = search.window == nullptr;
  SearchResult result;
  std::string next_page_token;
  if (first_page) {
    const SearchRequest& request = search.request;
    RETURN_IF_ERROR(parts_.admission->CheckTime(ticket, context.deadline()));
    const CallContext part(context, absl::InfiniteFuture(), search.priority());
    absl::StatusOr<SearchResult> found =
        parts_.pipeline->Run(*search.view, request.query, request.options, part);
    if (!found.ok()) return BlameQuery(found.status(), request.query);
    result = *std::move(found);
    parts_.admission->Answered(
        ticket, result.timings.encode + result.timings.recall + result.timings.select);
    const int64_t size = request.options.top_k;
    if (static_cast<int64_t>(result.hits.size()) > size) {
      auto window = std::make_shared<ResultWindow>();
      window->view = search.view;
      window->request_digest = search.digest;
      SearchResult page = CutPage(result, 0, size);
      window->result = std::exchange(result, std::move(page));
      next_page_token =
          SearchPageToken{.window = parts_.windows->Put(std::move(window)), .offset = size}
              .Encode();
    }
    parts_.metrics->SearchAnswered(method, result, request.options, queue_time);
    if (parts_.shadow != nullptr) {
      parts_.shadow->Offer(*search.view, request.query, request.options, result);
    }
    if (parts_.auditor != nullptr) {
      parts_.auditor->Offer(search.view, request.query, request.options, result);
    }
  } else {
    const SearchPageToken& token = search.page.token;
    result = CutPage(search.window->result, token.offset, search.page.size);
    result.timings = {};
    const int64_t end = token.offset + static_cast<int64_t>(result.hits.size());
    if (end < static_cast<int64_t>(search.window->result.hits.size())) {
      next_page_token = SearchPageToken{.window = token.window, .offset = end}.Encode();
    }
    parts_.metrics->PageAsked(Metrics::PageOutcome::kServed);
  }
  const CallTimings timings = {.queue = queue_time, .total = search.stopwatch.Elapsed()};
  absl::StatusOr<Response> response =
      write(*search.view, result, timings, first_page ? search.request.want : search.page.want);
  if (!response.ok()) {
    return absl::InternalError(
        absl::StrCat("reading the items' records failed: ", response.status().message()));
  }
  response->set_next_page_token(std::move(next_page_token));
  v1::SearchStats stats = response->has_stats() ? response->stats() : WriteStats(result, timings);
  return SearchAnswer<Response>{.response = *std::move(response), .stats = std::move(stats)};
}

}  // namespace dime
