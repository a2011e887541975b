#include "server/pipeline/recall_stage.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace dime {

absl::StatusOr<std::vector<Candidate>> RecallStage::Run(const GalleryView& view,
                                                        const EncodedQuery& query,
                                                        const SearchOptions& options) const {
  const int64_t size = view.size(query.target());
  if (size == 0) return std::vector<Candidate>();
  const int64_t depth = options.exact ? size : std::min<int64_t>(options.rerank_depth, size);
  absl::StatusOr<std::vector<Candidate>> candidates =
      view.Recall(query.target(), query.view().coarse, depth,
                  {.effort = options.search_effort,
                   .exact = options.exact,
                   .filter = options.filter.matches_everything() ? nullptr : &options.filter});
  if (!candidates.ok()) {
    // The request was checked at the door: what the index refuses now is a fault of ours.
    return absl::InternalError(
        absl::StrCat("recall by the coarse index failed: ", candidates.status().message()));
  }
  if (options.min_coarse_score.has_value()) {
    const auto end = std::partition_point(candidates->begin(), candidates->end(),
                                          [&options](const Candidate& candidate) {
                                            return candidate.score >= *options.min_coarse_score;
                                          });
    candidates->erase(end, candidates->end());
  }
  return candidates;
}

}  // namespace dime
