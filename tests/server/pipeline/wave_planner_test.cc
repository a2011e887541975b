#include "server/pipeline/wave_planner.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/query_scores.h"

namespace dime {
namespace {

using ::testing::ElementsAre;

// Candidates whose coarse scores fall from 1 by `step`.
std::vector<Candidate> Falling(int count, float step) {
  std::vector<Candidate> candidates;
  for (int k = 0; k < count; ++k) candidates.push_back({.row = k, .score = 1 - step * k});
  return candidates;
}

// The waves that the planner asks for where the candidates' final scores are these.
std::vector<int64_t> Waves(const WavePlanner& planner, const std::vector<float>& final_scores) {
  std::vector<int64_t> waves;
  size_t done = 0;
  while (const int64_t wave = planner.NextWave(absl::MakeConstSpan(final_scores).first(done))) {
    waves.push_back(wave);
    done += wave;
  }
  return waves;
}

TEST(WavePlannerTest, WithoutABoundAllGoAtOnce) {
  const std::vector<Candidate> candidates = Falling(100, 0.01f);
  EXPECT_THAT(Waves({candidates, 5, std::nullopt}, std::vector<float>(100, 9.0f)),
              ElementsAre(100));
}

TEST(WavePlannerTest, WavesGrowWhileAnyCandidateMayMatter) {
  const std::vector<Candidate> candidates = Falling(100, 0.01f);
  const std::vector<float> scores(100, 0.0f);  // the bound is never reached
  EXPECT_THAT(Waves({candidates, 5, ScoreBound{.slope = 0, .intercept = 1}}, scores),
              ElementsAre(16, 16, 32, 36));
  EXPECT_THAT(Waves({candidates, 40, ScoreBound{.slope = 0, .intercept = 1}}, scores),
              ElementsAre(40, 40, 20));
}

TEST(WavePlannerTest, StopsExactlyWhenItMay) {
  // Candidate k can reach 1 - k / 128 at best, and the third best of the first wave has 0.75: those
  // from 32 on cannot exceed it.
  const std::vector<Candidate> candidates = Falling(100, 1.0f / 128);
  std::vector<float> scores(100, 0.0f);
  scores[0] = 0.875f;
  scores[7] = 0.75f;
  scores[9] = 0.75f;
  EXPECT_THAT(Waves({candidates, 3, ScoreBound{.slope = 1, .intercept = 0}}, scores),
              ElementsAre(16, 16));
  // A hair higher, and candidate 32 may matter still.
  EXPECT_THAT(Waves({candidates, 3, ScoreBound{.slope = 1, .intercept = 0.001f}}, scores),
              ElementsAre(16, 16, 1));
  // Two such scores alone stop nothing when three hits are wanted.
  scores[9] = -1;
  EXPECT_THAT(Waves({candidates, 3, ScoreBound{.slope = 1, .intercept = 0}}, scores),
              ElementsAre(16, 16, 32, 36));
}

TEST(WavePlannerTest, AWaveLeavesOutWhatCannotMatter) {
  // The first wave already gives 0.75 three times: of the rest, only those before 20 can exceed it.
  const std::vector<Candidate> candidates = Falling(100, 1.0f / 80);
  EXPECT_THAT(Waves({candidates, 3, ScoreBound{.slope = 1, .intercept = 0}},
                    std::vector<float>(100, 0.75f)),
              ElementsAre(16, 4));
}

TEST(WavePlannerTest, FewCandidatesAreAllScored) {
  const std::vector<Candidate> candidates = Falling(4, 0.1f);
  const ScoreBound low = {.slope = 0, .intercept = -1};
  EXPECT_THAT(Waves({candidates, 10, low}, std::vector<float>(4, 0.5f)), ElementsAre(4));
  EXPECT_THAT(Waves({{}, 10, low}, {}), ElementsAre());
}

TEST(WavePlannerTest, NeverChangesTheTopKWhereTheBoundHolds) {
  std::mt19937 random(7);
  std::uniform_real_distribution<float> uniform(0, 1);
  int64_t scored = 0;
  constexpr int kRuns = 300, kCandidates = 200;
  for (int run = 0; run < kRuns; ++run) {
    const ScoreBound bound = {.slope = 2 * uniform(random), .intercept = uniform(random) - 0.5f};
    std::vector<Candidate> candidates(kCandidates);
    for (Candidate& candidate : candidates) candidate.score = uniform(random);
    std::sort(candidates.begin(), candidates.end(),
              [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
    std::vector<float> scores;
    for (const Candidate& candidate : candidates) {  // some right at the bound, and many ties
      const float best = bound.slope * candidate.score + bound.intercept;
      scores.push_back(std::min(best, best - 0.25f * static_cast<float>(random() % 5)));
    }
    const int top_k = 1 + static_cast<int>(random() % 30);
    const std::vector<int64_t> waves = Waves({candidates, top_k, bound}, scores);
    const int64_t done = std::accumulate(waves.begin(), waves.end(), int64_t{0});
    scored += done;
    std::vector<int> best(kCandidates);
    std::iota(best.begin(), best.end(), 0);
    std::stable_sort(best.begin(), best.end(),
                     [&scores](int a, int b) { return scores[a] > scores[b]; });
    for (int k = 0; k < top_k; ++k) EXPECT_LT(best[k], done) << "run " << run << ", place " << k;
  }
  EXPECT_LT(scored, kRuns * kCandidates * 3 / 4);  // and it does save something
}

TEST(BoundAtTest, IsTheCalibratedOneAtTheTunedWeight) {
  RankingSettings::Entry entry{.fusion_weight = 0.25f};
  EXPECT_FALSE(BoundAt(std::nullopt, 0.25f).has_value());
  EXPECT_FALSE(BoundAt(entry, 0.25f).has_value());
  entry.bound = {.slope = 0.5f, .intercept = 0.125f};
  ASSERT_TRUE(BoundAt(entry, 0.25f).has_value());
  EXPECT_EQ(BoundAt(entry, 0.25f)->slope, 0.5f);
  EXPECT_EQ(BoundAt(entry, 0.25f)->intercept, 0.125f);
}

TEST(BoundAtTest, HoldsAtOtherWeightsForWhateverMeetsIt) {
  RankingSettings::Entry entry{.fusion_weight = 0.25f};
  entry.bound = {.slope = 0.75f, .intercept = 0.125f};
  for (float weight : {0.0f, 0.5f, 0.875f}) {
    const std::optional<ScoreBound> bound = BoundAt(entry, weight);
    ASSERT_TRUE(bound.has_value()) << weight;
    for (float coarse : {-0.5f, 0.0f, 0.25f, 0.75f}) {
      // The rerank score that meets the calibrated bound exactly meets the other one exactly.
      const float best = entry.bound->slope * coarse + entry.bound->intercept;
      const float rerank = (best - entry.fusion_weight * coarse) / (1 - entry.fusion_weight);
      EXPECT_NEAR(FusedScore(rerank, coarse, weight), bound->slope * coarse + bound->intercept,
                  1e-6)
          << weight << " " << coarse;
    }
  }
}

TEST(BoundAtTest, NothingFollowsWhereItCannot) {
  RankingSettings::Entry entry{.fusion_weight = 1};
  entry.bound = {.slope = 1, .intercept = 0};
  EXPECT_FALSE(BoundAt(entry, 0.5f).has_value());  // of the coarse score alone
  entry.fusion_weight = 0.5f;
  entry.bound->slope = 0.125f;  // the rerank score's bound rises as the coarse score falls
  EXPECT_FALSE(BoundAt(entry, 0).has_value());
  EXPECT_TRUE(BoundAt(entry, 0.5f).has_value());
}

}  // namespace
}  // namespace dime
