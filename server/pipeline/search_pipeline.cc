#include "server/pipeline/search_pipeline.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "index/status_macros.h"
#include "server/pipeline/stopwatch.h"

namespace dime {

absl::StatusOr<SearchResult> SearchPipeline::Run(const GalleryView& view, const Query& query,
                                                 const SearchOptions& options,
                                                 const CallContext& context) const {
  SearchResult result{.target = TargetOf(query),
                      .gallery_items = view.size(TargetOf(query)),
                      .fusion_weight = options.fusion_weight};
  Stopwatch stopwatch;

  RETURN_IF_ERROR(context.Check());
  ASSIGN_OR_RETURN(const EncodedQuery encoded, encode_.Run(view, query));
  result.text_truncated = encoded.text_truncated();
  result.timings.encode = stopwatch.Lap();

  RETURN_IF_ERROR(context.Check());
  ASSIGN_OR_RETURN(std::vector<Candidate> candidates, recall_.Run(view, encoded, options));
  result.recalled_count = static_cast<int64_t>(candidates.size());
  result.timings.recall = stopwatch.Lap();

  RETURN_IF_ERROR(context.Check());
  ASSIGN_OR_RETURN(RerankedCandidates reranked,
                   rerank_.Run(view, encoded, std::move(candidates), options, context));
  result.reranked_count = static_cast<int64_t>(reranked.rerank_scores.size());
  result.degradations = std::move(reranked.degradations);
  // Without reranking the lap is the coarse scores' way through the stage.
  const absl::Duration rerank_time = stopwatch.Lap();
  if (result.reranked_count > 0) result.timings.rerank = rerank_time;

  RETURN_IF_ERROR(context.Check());
  std::vector<std::optional<std::string>> groups;
  if (options.group_by.has_value()) {
    absl::StatusOr<std::vector<std::optional<std::string>>> found =
        group_.Run(view, result.target, reranked.candidates, *options.group_by);
    if (!found.ok()) {
      return absl::InternalError(
          absl::StrCat("reading the candidates' records failed: ", found.status().message()));
    }
    groups = *std::move(found);
  }
  // A threshold on final scores is not meant for those that there are instead.
  if (!result.degradations.empty() && result.reranked_count == 0) {
    SearchOptions selection = options;
    selection.min_final_score = std::nullopt;
    result.fusion_weight = 1;
    result.hits = select_.Run(reranked, selection, groups);
  } else {
    result.hits = select_.Run(reranked, options, groups);
  }
  result.timings.select = stopwatch.Lap();
  return result;
}

}  // namespace dime
