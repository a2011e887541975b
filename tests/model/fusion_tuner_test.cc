#include "model/fusion_tuner.h"

#include <vector>

#include "gtest/gtest.h"
#include "model/random_stream.h"
#include "model/retrieval_metrics.h"

namespace dime {
namespace {

// Two rivals of item 0: the rerank score prefers item 1 by 0.3, the coarse score prefers item 0 to
// it by 0.7 but likes item 2 better by `against`.
struct Case {
  std::vector<float> coarse, rerank;
};
Case PlantedCase(float against) {
  return {.coarse = {0.5f, -0.2f, 0.5f + against}, .rerank = {0.5f, 0.8f, 0.2f}};
}

// Fifty queries of a half, so that a gain is no accident.
void AddAll(FusionTuner& tuner, int half, const Case& c) {
  for (int q = 0; q < 50; ++q) {
    tuner.Add({.coarse = c.coarse, .rerank = c.rerank, .first_own = 0}, half);
  }
}

TEST(FusionTunerTest, PicksThePlantedWeight) {
  FusionTuner tuner;
  // Item 1 falls behind from w = 0.3 on, item 2 comes before item 0 from w = 0.6 on.
  const Case planted = PlantedCase(0.2f);
  AddAll(tuner, 0, planted);
  AddAll(tuner, 1, planted);
  const FusionTuner::Result result = tuner.Tune();
  EXPECT_NEAR(result.weight, 0.45, 0.03);  // the middle of the stretch
  EXPECT_EQ(result.best_weight, result.weight);
  EXPECT_EQ(result.fused_recall, 300);
  EXPECT_EQ(result.rerank_recall, 200);  // second of three
  EXPECT_EQ(result.coarse_recall, 200);
  EXPECT_EQ(result.cross_gain[0], 100);
  EXPECT_EQ(result.cross_gain[1], 100);
}

TEST(FusionTunerTest, AWeightThatHelpsOneHalfOnlyIsNotTaken) {
  FusionTuner tuner;
  AddAll(tuner, 0, PlantedCase(0.2f));
  // In the other half the rerank score alone is right, and any coarse share is harmful.
  AddAll(tuner, 1, {.coarse = {0, 1, 1}, .rerank = {0.5f, 0.49f, 0.1f}});
  const FusionTuner::Result result = tuner.Tune();
  EXPECT_EQ(result.weight, 0);
  EXPECT_EQ(result.fused_recall, result.rerank_recall);
}

TEST(FusionTunerTest, RejectsNoise) {
  std::mt19937_64 random(7);
  const auto unit = [&] { return static_cast<float>(Below(random, 1000000)) / 1000000; };
  int taken = 0;
  for (int trial = 0; trial < 20; ++trial) {
    FusionTuner tuner;
    for (int q = 0; q < 100; ++q) {
      // The rerank score knows something of the true item; the coarse score is white noise.
      std::vector<float> coarse(40), rerank(40);
      for (int i = 0; i < 40; ++i) {
        coarse[i] = unit();
        rerank[i] = unit() + (i == q % 40 ? 0.6f : 0);
      }
      tuner.Add({.coarse = coarse, .rerank = rerank, .first_own = q % 40}, q < 50 ? 0 : 1);
    }
    taken += tuner.Tune().weight > 0;
  }
  EXPECT_LE(taken, 1);
}

TEST(FusionTunerTest, TakesTheCoarseScoreAloneWhereThatIsBest) {
  FusionTuner tuner;
  // The coarse score is right by a little, the rerank score wrong by much.
  const Case planted = {.coarse = {0.01f, 0, 0}, .rerank = {-1, 1, 1}};
  AddAll(tuner, 0, planted);
  AddAll(tuner, 1, planted);
  EXPECT_EQ(tuner.Tune().weight, 1);
}

TEST(FusionTunerTest, RecallsAreThoseOfTheMetrics) {
  FusionTuner tuner;
  std::mt19937_64 random(3);
  std::vector<int64_t> coarse_ranks, rerank_ranks;
  for (int q = 0; q < 30; ++q) {
    std::vector<float> coarse(25), rerank(25);  // few levels: ties
    for (int i = 0; i < 25; ++i) {
      coarse[i] = static_cast<float>(Below(random, 6));
      rerank[i] = static_cast<float>(Below(random, 6));
    }
    tuner.Add({.coarse = coarse, .rerank = rerank, .first_own = 20, .num_own = 5}, q % 2);
    coarse_ranks.push_back(BestRank(coarse, 20, 5));
    rerank_ranks.push_back(BestRank(rerank, 20, 5));
  }
  const FusionTuner::Result result = tuner.Tune();
  EXPECT_NEAR(result.coarse_recall, RankMetrics::FromRanks(coarse_ranks).recall_sum(), 1e-9);
  EXPECT_NEAR(result.rerank_recall, RankMetrics::FromRanks(rerank_ranks).recall_sum(), 1e-9);
}

TEST(FusionTunerTest, WithoutQueriesNothingIsFused) { EXPECT_EQ(FusionTuner().Tune().weight, 0); }

}  // namespace
}  // namespace dime
