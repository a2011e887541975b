#include "server/pipeline/recall_stage.h"

#include <algorithm>
#include <numeric>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace dime {

absl::StatusOr<std::vector<Candidate>> RecallStage::Run(const EncodedQuery& query,
                                                        const SearchOptions& options) const {
  const int64_t size = gallery_->size(query.target());
  if (size == 0) return std::vector<Candidate>();
  if (options.exact) return ScanAll(query);
  absl::StatusOr<std::vector<Candidate>> candidates = gallery_->Recall(
      query.target(), query.view().coarse, std::min<int64_t>(options.rerank_depth, size),
      {.effort = options.search_effort});
  if (!candidates.ok()) {
    // The request was checked at the door: what the index refuses now is a fault of ours.
    return absl::InternalError(
        absl::StrCat("recall by the coarse index failed: ", candidates.status().message()));
  }
  return candidates;
}

std::vector<Candidate> RecallStage::ScanAll(const EncodedQuery& query) const {
  const EncodedItemsView view = query.view();
  const EncodedItemsView items = gallery_->features(query.target());
  const size_t dim = items.coarse_dim;
  std::vector<Candidate> candidates(items.count);
  for (int64_t row = 0; row < items.count; ++row) {
    const absl::Span<const float> item = items.coarse.subspan(row * dim, dim);
    candidates[row] = {row,
                       std::inner_product(item.begin(), item.end(), view.coarse.begin(), 0.0f)};
  }
  // Stable: rows of equal score stay in the rows' order.
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
  return candidates;
}

}  // namespace dime
