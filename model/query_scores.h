#ifndef DIME_MODEL_QUERY_SCORES_H_
#define DIME_MODEL_QUERY_SCORES_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace dime {

// What both stages say of every item for one query: the input of all that judges the two stages
// together (two_stage_report.h, fusion_tuner.h, bound_calibrator.h).
// A view; what it was made from must outlive it.
struct QueryScores {
  int64_t row = 0;                 // the query's, within its split
  absl::Span<const float> coarse;  // (items) inner products of the first stage's embeddings
  absl::Span<const float> rerank;  // (items) DIME's scores, in one score mode
  // The true items are [first_own, first_own + num_own).
  int64_t first_own = 0;
  int64_t num_own = 1;

  int64_t items() const { return static_cast<int64_t>(coarse.size()); }
};

// The score that orders the hits, from both stages'. To the bit the rerank score at weight 0 and
// the coarse score at weight 1.
inline float FusedScore(float rerank, float coarse, float weight) {
  return (1 - weight) * rerank + weight * coarse;
}

// The same for all items of a query.
inline std::vector<float> FusedScores(const QueryScores& query, float weight) {
  std::vector<float> fused(query.coarse.size());
  for (size_t i = 0; i < fused.size(); ++i) {
    fused[i] = FusedScore(query.rerank[i], query.coarse[i], weight);
  }
  return fused;
}

}  // namespace dime

#endif  // DIME_MODEL_QUERY_SCORES_H_
