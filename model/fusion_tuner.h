#ifndef DIME_MODEL_FUSION_TUNER_H_
#define DIME_MODEL_FUSION_TUNER_H_

#include <array>
#include <cstdint>
#include <vector>

#include "model/query_scores.h"

namespace dime {

// Finds the share of the coarse score in the final one that serves a kind searched and a score mode
// best: the weight, of 0, 0.02, ..., 1, with the highest R@1 + R@5 + R@10.
//
// Held-out data are small, and the best of many weights is easily the luckiest. So the queries come
// in two halves: the best weight of each half must, on the other half, beat reranking alone by more
// than the standard error of that gain (paired, query by query). If it does both ways, the best
// weight of all queries is taken, else 0. Of a stretch of equally good weights the middle is taken,
// and 0 if it is among the best.
// Not thread-safe.
class FusionTuner {
 public:
  static constexpr int kSteps = 50;

  struct Result {
    float weight = 0;
    // R@1 + R@5 + R@10 in percent over all queries: of the coarse order, of the rerank score, and
    // of the fused score at the weight.
    double coarse_recall = 0, rerank_recall = 0, fused_recall = 0;
    // What each half's best weight gained on the other half; cross_gain[h] is measured on half h.
    std::array<double, 2> cross_gain = {};
    // The best weight of all queries, also where it was not taken.
    float best_weight = 0;
  };

  // `half`: 0 or 1. Queries that have much in common belong to the same half.
  void Add(const QueryScores& query, int half);
  // Over all queries so far; all zero without any.
  Result Tune() const;

 private:
  // How many of the recalls at 1, 5 and 10 a query counts for (0 to 3), by weight step.
  using RecallsByStep = std::array<uint8_t, kSteps + 1>;

  std::array<std::vector<RecallsByStep>, 2> halves_;
};

}  // namespace dime

#endif  // DIME_MODEL_FUSION_TUNER_H_
