#ifndef DIME_SERVER_REQUEST_CONVERTER_H_
#define DIME_SERVER_REQUEST_CONVERTER_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dime/v1/retrieval.pb.h"
#include "index/gallery.h"
#include "model/call_context.h"
#include "model/model_info.h"
#include "server/page_token.h"
#include "server/pipeline/explain_pipeline.h"
#include "server/pipeline/search_types.h"
#include "server/response_writer.h"
#include "server/search_limits.h"

namespace dime {

// A request in native types, checked.
struct SearchRequest {
  Query query;
  SearchOptions options;
  HitFields want;
  std::optional<Priority> priority;  // absent: as the method has it
};

// What a request asks that has a page token: everything else was settled with the first page.
struct PageRequest {
  SearchPageToken token;
  int size = 0;  // hits
  HitFields want;
};

// The same of an ExplainPairRequest.
struct ExplainRequest {
  PairQuery pair;
  ScoreMode mode = ScoreMode::kEnsemble;
};

// The door: turns messages of the API into native types, once, and checks everything about them, so
// that nothing behind it has to. All fields at fault are reported together, each with what is
// allowed and what was given.
// Immutable, hence thread-safe.
class RequestConverter {
 public:
  RequestConverter(const SearchLimits& limits, const ModelInfo& model)
      : limits_(limits), model_(model) {}

  // `view`: the gallery as the call sees it; ids become its rows. INVALID_ARGUMENT, NOT_FOUND or
  // FAILED_PRECONDITION, with the details of error_details.h.
  absl::StatusOr<SearchRequest> Convert(const v1::SearchImagesRequest& request,
                                        const GalleryView& view) const;
  absl::StatusOr<SearchRequest> Convert(const v1::SearchCaptionsRequest& request,
                                        const GalleryView& view) const;
  absl::StatusOr<ExplainRequest> Convert(const v1::ExplainPairRequest& request,
                                         const GalleryView& view) const;
  // The options of a search with a page token. INVALID_ARGUMENT as above.
  absl::StatusOr<PageRequest> ConvertPage(const v1::SearchOptions& options) const;

 private:
  const SearchLimits limits_;
  const ModelInfo model_;
};

// What to tell the caller if the search itself finds the query at fault (INVALID_ARGUMENT of
// SearchPipeline): the same status, blaming the query's field. Other statuses pass unchanged.
absl::Status BlameQuery(const absl::Status& status, const Query& query);
// The same of ExplainPipeline: features where there are any, for the text was checked at the door.
absl::Status BlameQuery(const absl::Status& status, const PairQuery& pair);

}  // namespace dime

#endif  // DIME_SERVER_REQUEST_CONVERTER_H_
