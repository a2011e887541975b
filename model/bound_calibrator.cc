#include "model/bound_calibrator.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

namespace dime {
namespace {

// The slopes that are tried: 0, and powers of 2^(1/4) from 1/32 to 32.
std::vector<double> Slopes() {
  std::vector<double> slopes = {0};
  for (int i = -20; i <= 20; ++i) slopes.push_back(std::exp2(i / 4.0));
  return slopes;
}

// Ranks at which a query's coarse scores are kept: close together among the best, where searches
// stop, and a twentieth apart further down.
std::vector<int64_t> SampleRanks(int64_t items) {
  std::vector<int64_t> ranks;
  for (int64_t rank = 0; rank < items; rank = std::max(rank + 1, rank + rank / 20)) {
    ranks.push_back(rank);
  }
  return ranks;
}

}  // namespace

void BoundCalibrator::Add(const QueryScores& query) {
  items_ = query.items();
  const std::vector<float> final = FusedScores(query, fusion_weight_);
  std::vector<std::pair<float, float>> best(final.size());  // final, coarse
  for (size_t i = 0; i < final.size(); ++i) best[i] = {final[i], query.coarse[i]};
  const auto hits = std::min<int64_t>(kHits, items_);
  std::partial_sort(best.begin(), best.begin() + hits, best.end(), std::greater<>());
  for (int64_t i = 0; i < hits; ++i) {
    hits_.push_back({.coarse = best[i].second, .final = best[i].first});
  }
  std::vector<float> coarse(query.coarse.begin(), query.coarse.end());
  std::sort(coarse.begin(), coarse.end(), std::greater<>());
  Query kept{.last_hit = best[hits - 1].first};
  for (int64_t rank : SampleRanks(items_)) kept.coarse_samples.push_back(coarse[rank]);
  queries_.push_back(std::move(kept));
}

std::optional<RankingSettings::Entry::Bound> BoundCalibrator::Calibrate() const {
  if (hits_.empty()) return std::nullopt;
  const std::vector<int64_t> ranks = SampleRanks(items_);
  const auto covered =
      static_cast<int64_t>(std::ceil(kShare * static_cast<double>(hits_.size()) - 1e-9));
  std::optional<RankingSettings::Entry::Bound> best;
  double least = std::numeric_limits<double>::infinity();
  std::vector<double> excess(hits_.size());
  for (double slope : Slopes()) {
    for (size_t i = 0; i < hits_.size(); ++i) {
      excess[i] = hits_[i].final - slope * hits_[i].coarse;
    }
    const auto at = excess.begin() + std::max<int64_t>(covered - 1, 0);
    std::nth_element(excess.begin(), at, excess.end());
    // Rounded up twice over, so that the bound holds in single precision too.
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const float intercept =
        std::nextafter(std::nextafter(static_cast<float>(*at), kInfinity), kInfinity);
    double scored = 0;  // sum of logarithms
    for (const Query& query : queries_) {
      const auto stop =
          std::find_if(query.coarse_samples.begin(), query.coarse_samples.end(),
                       [&](float coarse) { return slope * coarse + intercept < query.last_hit; });
      const int64_t depth =
          stop == query.coarse_samples.end() ? items_ : ranks[stop - query.coarse_samples.begin()];
      scored += std::log(static_cast<double>(std::max<int64_t>(depth, 1)));
    }
    if (scored < least) {
      least = scored;
      best = {.slope = static_cast<float>(slope), .intercept = intercept};
    }
  }
  return best;
}

}  // namespace dime
