#include "model/fusion_tuner.h"

#include <algorithm>
#include <cmath>

#include "absl/types/span.h"
#include "model/retrieval_metrics.h"

namespace dime {
namespace {

float WeightOf(int step) { return static_cast<float>(step) / FusionTuner::kSteps; }

uint8_t RecallsAt(int64_t rank) {
  return static_cast<uint8_t>((rank < 1) + (rank < 5) + (rank < 10));
}

// The middle of the first stretch of largest sums; 0 if that is among them.
int BestStep(absl::Span<const int64_t> sums) {
  const auto best = std::max_element(sums.begin(), sums.end());
  if (sums[0] == *best) return 0;
  const auto end = std::find_if(best, sums.end(), [&](int64_t sum) { return sum != *best; });
  return static_cast<int>((best - sums.begin()) + (end - best - 1) / 2);
}

}  // namespace

void FusionTuner::Add(const QueryScores& query, int half) {
  std::array<int64_t, kSteps + 1> best;
  best.fill(query.items());
  std::vector<int64_t> rivals;
  for (int64_t own = query.first_own; own < query.first_own + query.num_own; ++own) {
    // An item that is behind in both stages is behind at every weight (save where rounding ties).
    rivals.clear();
    for (int64_t i = 0; i < query.items(); ++i) {
      if (i != own &&
          (query.rerank[i] >= query.rerank[own] || query.coarse[i] >= query.coarse[own])) {
        rivals.push_back(i);
      }
    }
    for (int step = 0; step <= kSteps; ++step) {
      const float weight = WeightOf(step);
      const float score = FusedScore(query.rerank[own], query.coarse[own], weight);
      int64_t rank = 0;
      for (int64_t i : rivals) {
        rank += RanksBefore(FusedScore(query.rerank[i], query.coarse[i], weight), i, score, own);
      }
      best[step] = std::min(best[step], rank);
    }
  }
  RecallsByStep recalls;
  for (int step = 0; step <= kSteps; ++step) recalls[step] = RecallsAt(best[step]);
  halves_[half].push_back(recalls);
}

FusionTuner::Result FusionTuner::Tune() const {
  Result result;
  std::array<std::array<int64_t, kSteps + 1>, 2> sums = {};
  std::array<int64_t, kSteps + 1> total = {};
  for (int half = 0; half < 2; ++half) {
    for (const RecallsByStep& recalls : halves_[half]) {
      for (int step = 0; step <= kSteps; ++step) sums[half][step] += recalls[step];
    }
    for (int step = 0; step <= kSteps; ++step) total[step] += sums[half][step];
  }
  const size_t queries = halves_[0].size() + halves_[1].size();
  if (queries == 0) return result;

  bool holds = true;
  for (int half = 0; half < 2; ++half) {
    const int step = BestStep(sums[1 - half]);
    int64_t gain = 0, squares = 0;
    for (const RecallsByStep& recalls : halves_[half]) {
      const int64_t difference = int64_t{recalls[step]} - recalls[0];
      gain += difference;
      squares += difference * difference;
    }
    holds = holds && static_cast<double>(gain) > std::sqrt(static_cast<double>(squares));
    if (!halves_[half].empty()) {
      result.cross_gain[half] =
          100.0 * static_cast<double>(gain) / static_cast<double>(halves_[half].size());
    }
  }
  const int best = BestStep(total);
  const int taken = holds ? best : 0;
  const auto recall = [&](int step) {
    return 100.0 * static_cast<double>(total[step]) / static_cast<double>(queries);
  };
  result.best_weight = WeightOf(best);
  result.weight = WeightOf(taken);
  result.rerank_recall = recall(0);
  result.coarse_recall = recall(kSteps);
  result.fused_recall = recall(taken);
  return result;
}

}  // namespace dime
