#include "model/two_stage_report.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"

namespace dime {
namespace {

RankMetrics Ranks(std::vector<int64_t> ranks) { return RankMetrics::FromRanks(std::move(ranks)); }

void ExpectEqual(const RankMetrics& actual, const RankMetrics& expected) {
  EXPECT_EQ(actual.r1, expected.r1);
  EXPECT_EQ(actual.r5, expected.r5);
  EXPECT_EQ(actual.r10, expected.r10);
  EXPECT_EQ(actual.median_rank, expected.median_rank);
  EXPECT_EQ(actual.mean_rank, expected.mean_rank);
}

// Six items; the coarse order is 0 1 2 3 4 5, the rerank order 3 1 5 0 2 4.
const std::vector<float> kCoarse = {0.9f, 0.8f, 0.7f, 0.6f, 0.5f, 0.4f};
const std::vector<float> kRerank = {0.3f, 0.5f, 0.2f, 0.6f, 0.1f, 0.4f};

TEST(TwoStageReportTest, WindowByFinalScoreRestInCoarseOrder) {
  TwoStageReport report(6, {.depths = {1, 2, 4, 6}});
  report.Add({.coarse = kCoarse, .rerank = kRerank, .first_own = 3});
  const TwoStageReport::Summary summary = report.Summarise();
  ASSERT_EQ(summary.depths.size(), 4u);
  EXPECT_EQ(summary.coarse.mean_rank, 4);
  EXPECT_EQ(summary.rerank.mean_rank, 1);
  // Outside the window item 3 stays fourth, whatever the rerank score says of it.
  EXPECT_EQ(summary.depths[0].rerank.metrics.mean_rank, 4);
  EXPECT_EQ(summary.depths[1].rerank.metrics.mean_rank, 4);
  EXPECT_EQ(summary.depths[2].rerank.metrics.mean_rank, 1);
  EXPECT_EQ(summary.depths[3].rerank.metrics.mean_rank, 1);
}

TEST(TwoStageReportTest, RerankingWithinTheWindowCanAlsoLose) {
  TwoStageReport report(6, {.depths = {1, 2, 4}});
  report.Add({.coarse = kCoarse, .rerank = kRerank, .first_own = 0});
  const TwoStageReport::Summary summary = report.Summarise();
  EXPECT_EQ(summary.depths[0].rerank.metrics.mean_rank, 1);
  EXPECT_EQ(summary.depths[1].rerank.metrics.mean_rank, 2);  // behind item 1
  EXPECT_EQ(summary.depths[2].rerank.metrics.mean_rank, 3);  // behind items 3 and 1
}

TEST(TwoStageReportTest, TheBestOfSeveralTrueItemsCounts) {
  TwoStageReport report(6, {.depths = {3, 4}});
  report.Add({.coarse = kCoarse, .rerank = kRerank, .first_own = 2, .num_own = 2});
  const TwoStageReport::Summary summary = report.Summarise();
  EXPECT_EQ(summary.coarse.mean_rank, 3);                    // item 2
  EXPECT_EQ(summary.depths[0].rerank.metrics.mean_rank, 3);  // item 2 last of the window
  EXPECT_EQ(summary.depths[1].rerank.metrics.mean_rank, 1);  // item 3
}

TEST(TwoStageReportTest, TiesGoToTheGreaterRowInBothStages) {
  const std::vector<float> level(4, 0.5f);
  TwoStageReport report(4, {.depths = {2, 4}});
  report.Add({.coarse = level, .rerank = level, .first_own = 1});
  const TwoStageReport::Summary summary = report.Summarise();
  // The order is 3 2 1 0: item 1 is third, and outside a window of two.
  EXPECT_EQ(summary.coarse.mean_rank, 3);
  EXPECT_EQ(summary.depths[0].rerank.metrics.mean_rank, 3);
  EXPECT_EQ(summary.depths[1].rerank.metrics.mean_rank, 3);
  TwoStageReport reranked(4, {.depths = {2, 3}});
  const std::vector<float> tie = {0.1f, 0.9f, 0.2f, 0.9f};  // 1 and 3 tie; 3 stands before
  reranked.Add({.coarse = level, .rerank = tie, .first_own = 1});
  EXPECT_EQ(reranked.Summarise().depths[0].rerank.metrics.mean_rank, 3);
  EXPECT_EQ(reranked.Summarise().depths[1].rerank.metrics.mean_rank, 2);
}

// 40 items, of which the ten best by rerank score stand at coarse ranks 0, 4, 8, ..., 36.
class RecallTest : public testing::Test {
 protected:
  RecallTest() {
    for (int i = 0; i < 40; ++i) {
      coarse_.push_back(1 - 0.01f * static_cast<float>(i));
      rerank_.push_back(i % 4 == 0 ? 0.9f : 0.1f);
    }
  }
  std::vector<float> coarse_, rerank_;
};

TEST_F(RecallTest, ShareOfTheExhaustiveTopTenInTheWindow) {
  TwoStageReport report(40, {.depths = {1, 4, 5, 36, 37, 100}, .fusion_weight = 1});
  report.Add({.coarse = coarse_, .rerank = rerank_, .first_own = 0});
  const TwoStageReport::Summary summary = report.Summarise();
  const std::vector<double> rerank = {10, 10, 20, 90, 100, 100};
  const std::vector<double> coarse = {10, 40, 50, 100, 100, 100};  // weight 1: the coarse top ten
  for (size_t d = 0; d < rerank.size(); ++d) {
    EXPECT_EQ(summary.depths[d].rerank.recalled, rerank[d]) << d;
    EXPECT_EQ(summary.depths[d].fused.recalled, coarse[d]) << d;
  }
  EXPECT_EQ(summary.rerank_depth_needed, 37);  // all ten of ten are 99%
  EXPECT_EQ(summary.fused_depth_needed, 10);
}

TEST_F(RecallTest, NeededDepthLeavesOneHitInAHundred) {
  TwoStageReport report(40, {});
  // Nine queries need a depth of 10, one needs 37: of 100 hits the deepest may be missed.
  for (int q = 0; q < 9; ++q) report.Add({.coarse = coarse_, .rerank = coarse_, .first_own = 0});
  report.Add({.coarse = coarse_, .rerank = rerank_, .first_own = 0});
  EXPECT_EQ(report.Summarise().rerank_depth_needed, 33);
}

TEST_F(RecallTest, PairsAreThoseOfTheWindowAtMostAllItems) {
  TwoStageReport report(40, {.depths = {7, 1000}});
  for (int q = 0; q < 3; ++q) report.Add({.coarse = coarse_, .rerank = rerank_, .first_own = q});
  const TwoStageReport::Summary summary = report.Summarise();
  EXPECT_EQ(summary.queries, 3);
  EXPECT_EQ(summary.depths[0].pairs, 21);
  EXPECT_EQ(summary.depths[1].pairs, 120);
  EXPECT_EQ(summary.exhaustive_pairs, 120);
}

// Scores with many ties, so that a rule broken anywhere shows.
std::vector<float> Coarsely(int items, double frequency) {
  std::vector<float> scores;
  for (int i = 0; i < items; ++i) {
    scores.push_back(static_cast<float>(std::round(8 * std::sin(frequency * (i + 1)))) / 8);
  }
  return scores;
}

TEST(TwoStageReportTest, AWindowOfAllItemsIsExhaustive) {
  TwoStageReport report(50, {.depths = {10, 50, 51}, .fusion_weight = 0.375f});
  for (int q = 0; q < 10; ++q) {
    report.Add({.coarse = Coarsely(50, 0.7 + q),
                .rerank = Coarsely(50, 1.3 + q),
                .first_own = 5 * q,
                .num_own = 5});
  }
  const TwoStageReport::Summary summary = report.Summarise();
  for (size_t d : {1, 2}) {
    ExpectEqual(summary.depths[d].rerank.metrics, summary.rerank);
    ExpectEqual(summary.depths[d].fused.metrics, summary.fused);
    EXPECT_EQ(summary.depths[d].rerank.recalled, 100);
    EXPECT_EQ(summary.depths[d].fused.recalled, 100);
  }
  EXPECT_NE(summary.rerank.mean_rank, summary.fused.mean_rank);
}

TEST(TwoStageReportTest, FusedWithWeightZeroIsRerankAndWithOneIsCoarse) {
  TwoStageReport none(50, {.depths = {5, 20}, .fusion_weight = 0});
  TwoStageReport all(50, {.depths = {5, 20}, .fusion_weight = 1});
  for (int q = 0; q < 10; ++q) {
    const std::vector<float> coarse = Coarsely(50, 0.7 + q), rerank = Coarsely(50, 1.3 + q);
    const QueryScores query{.coarse = coarse, .rerank = rerank, .first_own = q};
    none.Add(query);
    all.Add(query);
  }
  const TwoStageReport::Summary unfused = none.Summarise(), coarse = all.Summarise();
  ExpectEqual(unfused.fused, unfused.rerank);
  ExpectEqual(coarse.fused, coarse.coarse);
  for (size_t d : {0, 1}) {
    ExpectEqual(unfused.depths[d].fused.metrics, unfused.depths[d].rerank.metrics);
    EXPECT_EQ(unfused.depths[d].fused.recalled, unfused.depths[d].rerank.recalled);
    ExpectEqual(coarse.depths[d].fused.metrics, coarse.coarse);
  }
}

TEST(TwoStageReportTest, SummarisesSomeOfTheQueries) {
  TwoStageReport report(6, {.depths = {4}});
  report.Add({.coarse = kCoarse, .rerank = kRerank, .first_own = 3});
  report.Add({.coarse = kCoarse, .rerank = kRerank, .first_own = 4});
  const std::vector<int64_t> second = {1};
  const TwoStageReport::Summary summary = report.Summarise(second);
  EXPECT_EQ(summary.queries, 1);
  ExpectEqual(summary.coarse, Ranks({4}));
  ExpectEqual(summary.rerank, Ranks({5}));
  ExpectEqual(summary.depths[0].rerank.metrics, Ranks({4}));
  ExpectEqual(report.Summarise().rerank, Ranks({0, 5}));
  EXPECT_EQ(report.Summarise({}).queries, 0);
}

}  // namespace
}  // namespace dime
