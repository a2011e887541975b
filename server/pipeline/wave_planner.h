#ifndef DIME_SERVER_PIPELINE_WAVE_PLANNER_H_
#define DIME_SERVER_PIPELINE_WAVE_PLANNER_H_

#include <cstdint>
#include <optional>

#include "absl/types/span.h"
#include "model/ranking_settings.h"
#include "server/pipeline/search_types.h"

namespace dime {

// Decides how the candidates of one search go to the reranker. Without a bound all go at once. With
// a bound on final scores they go in waves, in order of coarse score: the first of max(top_k, 16),
// each further one as large as all before it together (at most twice the pairs that were needed, in
// few launches); but never a candidate whose best possible final score, slope x coarse score +
// intercept, does not exceed the k-th final score found so far. Since that one only rises, and
// candidates behind have lower coarse scores still, such a candidate and all behind it cannot enter
// the top_k (on a tie the smaller coarse rank wins). So wherever the bound holds for a search's
// candidates, its top_k are those of reranking all.
// Not thread-safe. The candidates must outlive it.
class WavePlanner {
 public:
  // `candidates`: by falling coarse score. The bound's slope must not be negative.
  WavePlanner(absl::Span<const Candidate> candidates, int top_k,
              const std::optional<ScoreBound>& bound)
      : candidates_(candidates), top_k_(top_k), bound_(bound) {}

  // The size of the next wave, given the final scores of the candidates before it; 0: it is enough.
  int64_t NextWave(absl::Span<const float> final_scores) const;

 private:
  const absl::Span<const Candidate> candidates_;
  const int64_t top_k_;
  const std::optional<ScoreBound> bound_;
};

// The bound on final scores of this fusion weight that follows from the one calibrated at the tuned
// weight: a bound on the final score is one on the rerank score as well. It holds as the calibrated
// one does, for almost all of the best hits (see BoundCalibrator). Nothing where no bound was
// calibrated, where it says nothing of rerank scores (tuned weight 1), or where it would rise
// towards lower coarse scores.
std::optional<ScoreBound> BoundAt(const std::optional<RankingSettings::Entry>& entry,
                                  float fusion_weight);

}  // namespace dime

#endif  // DIME_SERVER_PIPELINE_WAVE_PLANNER_H_
