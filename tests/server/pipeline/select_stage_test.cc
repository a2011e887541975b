#include "server/pipeline/select_stage.h"

#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Candidates in rows 10, 11, ... with these i2t scores and falling coarse scores.
RerankedCandidates Reranked(std::vector<float> scores) {
  RerankedCandidates reranked;
  for (size_t k = 0; k < scores.size(); ++k) {
    reranked.candidates.push_back({.row = int64_t(10 + k), .score = 0.9f - 0.1f * k});
  }
  reranked.scores.scores[0] = scores;
  reranked.rerank_scores = scores;
  reranked.final_scores = scores;
  return reranked;
}

std::vector<int64_t> RowsOf(const std::vector<Hit>& hits) {
  std::vector<int64_t> rows;
  for (const Hit& hit : hits) rows.push_back(hit.row);
  return rows;
}

TEST(SelectStageTest, TakesTheBest) {
  const std::vector<Hit> hits =
      SelectStage().Run(Reranked({0.1f, 0.7f, -0.5f, 0.3f}), {.top_k = 2});
  EXPECT_THAT(RowsOf(hits), ElementsAre(11, 13));
  EXPECT_EQ(hits[0].score, 0.7f);
  EXPECT_EQ(hits[0].rerank_score, 0.7f);
  EXPECT_FLOAT_EQ(hits[0].coarse_score, 0.8f);
  EXPECT_EQ(hits[0].coarse_rank, 2);
  EXPECT_EQ(hits[0].direction_scores[0], 0.7f);
  EXPECT_FALSE(hits[0].direction_scores[1].has_value());
  EXPECT_THAT(hits[0].paths[0], IsEmpty());
}

TEST(SelectStageTest, TiesGoByCoarseRank) {
  const std::vector<Hit> hits =
      SelectStage().Run(Reranked({0.5f, 0.7f, 0.5f, 0.7f, 0.5f}), {.top_k = 4});
  EXPECT_THAT(RowsOf(hits), ElementsAre(11, 13, 10, 12));
}

TEST(SelectStageTest, TheFinalScoreOrdersNotTheRerankScore) {
  RerankedCandidates reranked = Reranked({0.1f, 0.7f, 0.3f});
  reranked.final_scores = {0.6f, 0.2f, 0.4f};
  const std::vector<Hit> hits = SelectStage().Run(reranked, {.top_k = 2});
  EXPECT_THAT(RowsOf(hits), ElementsAre(10, 12));
  EXPECT_EQ(hits[0].score, 0.6f);
  EXPECT_EQ(hits[0].rerank_score, 0.1f);
}

TEST(SelectStageTest, WithoutRerankScoresTheHitsHaveNone) {
  RerankedCandidates recalled;
  recalled.candidates = {{.row = 4, .score = 0.9f}, {.row = 2, .score = 0.8f}};
  recalled.final_scores = {0.9f, 0.8f};
  const std::vector<Hit> hits = SelectStage().Run(recalled, {.top_k = 5});
  EXPECT_THAT(RowsOf(hits), ElementsAre(4, 2));
  EXPECT_EQ(hits[0].rerank_score, std::nullopt);
  EXPECT_EQ(hits[0].direction_scores[0], std::nullopt);
  EXPECT_THAT(hits[0].paths[0], IsEmpty());
}

TEST(SelectStageTest, AllOfThemIfThereAreFewer) {
  EXPECT_THAT(RowsOf(SelectStage().Run(Reranked({0.1f, 0.2f}), {.top_k = 10})),
              ElementsAre(11, 10));
  EXPECT_THAT(SelectStage().Run(Reranked({}), {.top_k = 10}), IsEmpty());
}

TEST(SelectStageTest, HandsOutEachHitsOwnPaths) {
  RerankedCandidates reranked = Reranked({0.1f, 0.2f});
  for (int k = 0; k < 2; ++k) {
    for (int w = 0; w < kNumPathWeights; ++w) {
      reranked.scores.paths[0].push_back(static_cast<float>(100 * k + w));
    }
  }
  const std::vector<Hit> hits = SelectStage().Run(reranked, {.top_k = 2});
  ASSERT_THAT(hits[0].paths[0], SizeIs(kNumPathWeights));
  EXPECT_EQ(hits[0].paths[0][35], 135.0f);
  EXPECT_EQ(hits[1].paths[0][0], 0.0f);
  EXPECT_THAT(hits[0].paths[1], IsEmpty());
}

TEST(SelectStageTest, WhatIsBelowAThresholdIsNoHit) {
  RerankedCandidates reranked = Reranked({0.1f, 0.7f, -0.5f, 0.3f});
  reranked.final_scores = {0.4f, 0.3f, 0.2f, 0.1f};
  EXPECT_THAT(RowsOf(SelectStage().Run(reranked, {.top_k = 4, .min_rerank_score = 0.1f})),
              ElementsAre(10, 11, 13));
  EXPECT_THAT(RowsOf(SelectStage().Run(reranked, {.top_k = 4, .min_final_score = 0.2f})),
              ElementsAre(10, 11, 12));
  EXPECT_THAT(SelectStage().Run(reranked, {.top_k = 4, .min_final_score = 0.5f}), IsEmpty());
  // What was not reranked has no rerank score to be below of.
  reranked.rerank_scores.clear();
  EXPECT_THAT(SelectStage().Run(reranked, {.top_k = 4, .min_rerank_score = 0.1f}), SizeIs(4));
}

TEST(SelectStageTest, AGroupHasItsBestAlone) {
  const RerankedCandidates reranked = Reranked({0.1f, 0.7f, 0.5f, 0.3f, 0.6f, 0.2f});
  const std::vector<std::optional<std::string>> groups = {"a",          "a", "b",
                                                          std::nullopt, "a", std::nullopt};
  EXPECT_THAT(RowsOf(SelectStage().Run(reranked, {.top_k = 6, .group_by = GroupBy()}, groups)),
              ElementsAre(11, 12, 13, 15));
  EXPECT_THAT(
      RowsOf(SelectStage().Run(reranked, {.top_k = 6, .group_by = GroupBy{.size = 2}}, groups)),
      ElementsAre(11, 14, 12, 13, 15));
  // The top_k are filled up from behind.
  EXPECT_THAT(RowsOf(SelectStage().Run(reranked, {.top_k = 2, .group_by = GroupBy()}, groups)),
              ElementsAre(11, 12));
}

TEST(SelectStageTest, AllMayBeKept) {
  const RerankedCandidates reranked = Reranked({0.1f, 0.7f, 0.5f});
  EXPECT_THAT(RowsOf(SelectStage().Run(reranked, {.top_k = 1, .keep_all = true})),
              ElementsAre(11, 12, 10));
}

}  // namespace
}  // namespace dime
