#include "model/bound_calibrator.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "gtest/gtest.h"
#include "model/random_stream.h"

namespace dime {
namespace {

using Bound = RankingSettings::Entry::Bound;

struct Scores {
  std::vector<float> coarse, rerank;
};

// Coarse scores evenly over [0, 1]; rerank scores below 0.3 + 0.5 x coarse.
std::vector<Scores> UnderALine(int queries, int items, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<Scores> all(queries);
  for (Scores& scores : all) {
    for (int i = 0; i < items; ++i) {
      const float coarse = static_cast<float>(Below(random, 1000000)) / 1000000;
      const float below = static_cast<float>(Below(random, 1000000)) / 1000000;
      scores.coarse.push_back(coarse);
      scores.rerank.push_back(0.3f + 0.5f * coarse - 0.8f * below);
    }
  }
  return all;
}

Bound Calibrate(const std::vector<Scores>& all, float weight = 0) {
  BoundCalibrator calibrator(weight);
  for (const Scores& scores : all) {
    calibrator.Add({.coarse = scores.coarse, .rerank = scores.rerank, .first_own = 0});
  }
  const auto bound = calibrator.Calibrate();
  EXPECT_TRUE(bound.has_value());
  return bound.value_or(Bound{});
}

// Scores candidates in coarse order, one by one, until the bound says that no other can be among
// the ten best. Returns how many were scored, and adds to `lost` the true ten best not among them.
int SearchAdaptively(const Scores& scores, float weight, const Bound& bound, int* lost) {
  std::vector<std::pair<float, float>> items;  // coarse, final
  for (size_t i = 0; i < scores.coarse.size(); ++i) {
    items.emplace_back(scores.coarse[i], FusedScore(scores.rerank[i], scores.coarse[i], weight));
  }
  std::sort(items.begin(), items.end(), std::greater<>());
  std::vector<float> best, all;
  for (const auto& [coarse, final] : items) all.push_back(final);
  std::sort(all.begin(), all.end(), std::greater<>());
  size_t scored = 0;
  for (; scored < items.size(); ++scored) {
    if (best.size() >= 10 && bound.slope * items[scored].first + bound.intercept < best[9]) break;
    best.push_back(items[scored].second);
    std::sort(best.begin(), best.end(), std::greater<>());
  }
  for (size_t i = 0; i < 10; ++i) *lost += all[i] != best[i];
  return static_cast<int>(scored);
}

TEST(BoundCalibratorTest, LosesNextToNothingAndSavesMuch) {
  for (float weight : {0.0f, 0.5f}) {
    const Bound bound = Calibrate(UnderALine(200, 400, 1), weight);
    int lost = 0, scored = 0;
    for (const Scores& scores : UnderALine(200, 400, 2)) {  // other data
      scored += SearchAdaptively(scores, weight, bound, &lost);
    }
    EXPECT_LE(lost, 10) << "of 2000, weight " << weight;
    EXPECT_LT(scored, 200 * 400 / 2) << "weight " << weight;
  }
}

TEST(BoundCalibratorTest, HoldsForTheShareOnItsOwnData) {
  const std::vector<Scores> all = UnderALine(300, 100, 5);
  const Bound bound = Calibrate(all);
  int above = 0;
  for (const Scores& scores : all) {
    std::vector<std::pair<float, float>> items;
    for (size_t i = 0; i < scores.coarse.size(); ++i) {
      items.emplace_back(scores.rerank[i], scores.coarse[i]);
    }
    std::sort(items.begin(), items.end(), std::greater<>());
    for (int i = 0; i < 10; ++i) {
      above += items[i].first > bound.slope * items[i].second + bound.intercept;
    }
  }
  EXPECT_LE(above, 3);  // of 3000
}

TEST(BoundCalibratorTest, WhereTheCoarseScoreSaysNothingTheLineIsLevel) {
  std::vector<Scores> all = UnderALine(100, 100, 9);
  for (size_t q = 0; q < all.size(); ++q) all[q].rerank = all[(q + 1) % all.size()].rerank;
  EXPECT_LT(Calibrate(all).slope, 0.2);
}

TEST(BoundCalibratorTest, FewItemsAndNoQueries) {
  EXPECT_FALSE(BoundCalibrator(0).Calibrate().has_value());
  const Bound bound = Calibrate({{.coarse = {0.5f}, .rerank = {0.25f}}});
  EXPECT_GE(bound.slope * 0.5f + bound.intercept, 0.25f);
}

}  // namespace
}  // namespace dime
