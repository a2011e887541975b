#include "server/pipeline/wave_planner.h"

#include <algorithm>
#include <functional>
#include <vector>

namespace dime {
namespace {

constexpr int64_t kSmallestFirstWave = 16;

}  // namespace

int64_t WavePlanner::NextWave(absl::Span<const float> final_scores) const {
  const int64_t done = static_cast<int64_t>(final_scores.size());
  const int64_t left = static_cast<int64_t>(candidates_.size()) - done;
  if (!bound_.has_value()) return left;
  if (done < top_k_) return std::min(left, std::max(top_k_, kSmallestFirstWave));

  std::vector<float> scores(final_scores.begin(), final_scores.end());
  std::nth_element(scores.begin(), scores.begin() + (top_k_ - 1), scores.end(), std::greater<>());
  const float kth_score = scores[top_k_ - 1];
  const auto next = candidates_.begin() + done;
  const auto end =
      std::partition_point(next, candidates_.end(), [this, kth_score](const Candidate& candidate) {
        return bound_->slope * candidate.score + bound_->intercept > kth_score;
      });
  return std::min<int64_t>(end - next, done);
}

std::optional<ScoreBound> BoundAt(const std::optional<RankingSettings::Entry>& entry,
                                  float fusion_weight) {
  if (!entry.has_value() || !entry->bound.has_value()) return std::nullopt;
  const float tuned = entry->fusion_weight;
  if (fusion_weight == tuned) return entry->bound;
  if (tuned >= 1) return std::nullopt;
  // (1 - t) rerank + t coarse <= slope coarse + intercept bounds the rerank score, and with it
  // (1 - w) rerank + w coarse.
  const float ratio = (1 - fusion_weight) / (1 - tuned);
  const ScoreBound bound = {.slope = ratio * (entry->bound->slope - tuned) + fusion_weight,
                            .intercept = ratio * entry->bound->intercept};
  if (bound.slope < 0) return std::nullopt;
  return bound;
}

}  // namespace dime
