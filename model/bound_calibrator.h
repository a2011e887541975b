#ifndef DIME_MODEL_BOUND_CALIBRATOR_H_
#define DIME_MODEL_BOUND_CALIBRATOR_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "model/query_scores.h"
#include "model/ranking_settings.h"

namespace dime {

// Finds how high the final score can be where the coarse score is low, as a line over the coarse
// score: the bound by which adaptive depth stops.
//
// The pairs that matter are each query's ten best by the final score over all items: only they can
// be missed. (Over all pairs the figure would say nothing, as a query's ten best are themselves
// rarer than one in a thousand.) The line has kShare of these pairs on it or below. Candidates come
// in coarse order and the line does not fall, so a hit that keeps the bound cannot be missed: while
// it is to come, the bound at the next candidate is no lower than its final score. Hence at most
// 1 - kShare of the ten best hits are lost, on the data measured.
// Of the lines that hold, that one is taken which lets a search for ten hits stop soonest: least
// geometric mean over the queries of the candidates scored.
// Not thread-safe.
class BoundCalibrator {
 public:
  static constexpr int64_t kHits = 10;
  static constexpr double kShare = 0.999;

  // `fusion_weight`: of the final scores that the bound is for.
  explicit BoundCalibrator(float fusion_weight) : fusion_weight_(fusion_weight) {}

  void Add(const QueryScores& query);
  // Over all queries so far; absent without any.
  std::optional<RankingSettings::Entry::Bound> Calibrate() const;

 private:
  struct Hit {
    float coarse = 0;
    float final = 0;
  };
  struct Query {
    float last_hit = 0;                 // the final score that a further candidate must reach
    std::vector<float> coarse_samples;  // coarse scores at SampleRanks, falling
  };

  const float fusion_weight_;
  int64_t items_ = 0;
  std::vector<Hit> hits_;
  std::vector<Query> queries_;
};

}  // namespace dime

#endif  // DIME_MODEL_BOUND_CALIBRATOR_H_
