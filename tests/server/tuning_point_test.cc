#include "server/tuning_point.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime {
namespace {

using ::testing::ElementsAre;

constexpr absl::Duration kNoLimit = absl::InfiniteDuration();

TuningPoint Point(int depth, int effort, double recall, int64_t cost_ms) {
  return {.rerank_depth = depth,
          .search_effort = effort,
          .recall = recall,
          .cost = absl::Milliseconds(cost_ms)};
}

std::vector<int> Depths(const std::vector<TuningPoint>& points) {
  std::vector<int> depths;
  for (const TuningPoint& point : points) depths.push_back(point.rerank_depth);
  return depths;
}

TEST(TuningPointTest, TheFrontHoldsWhatNothingBeats) {
  const std::vector<TuningPoint> front = ParetoFront({
      Point(1, 8, 0.50, 10),
      Point(2, 4, 0.90, 30),
      Point(3, 8, 0.80, 40),  // costs more than 2 and keeps less
      Point(4, 4, 0.95, 50),
      Point(5, 8, 0.95, 60),  // keeps as much as 4 for more
      Point(6, 1, 0.40, 10),  // costs as much as 1 and keeps less
      Point(7, 1, 0.99, 55),
  });
  EXPECT_THAT(Depths(front), ElementsAre(1, 2, 4, 7));
}

TEST(TuningPointTest, ChoosesTheCheapestThatMeetsTheTarget) {
  const std::vector<TuningPoint> front =
      ParetoFront({Point(10, 0, 0.5, 1), Point(20, 0, 0.9, 2), Point(30, 0, 1.0, 3)});
  EXPECT_EQ(ChoosePoint(front, 0.4, kNoLimit), 0u);
  EXPECT_EQ(ChoosePoint(front, 0.9, kNoLimit), 1u);
  EXPECT_EQ(ChoosePoint(front, 0.91, kNoLimit), 2u);
  EXPECT_EQ(ChoosePoint(front, 1.0, kNoLimit), 2u);
  EXPECT_EQ(ChoosePoint({front[0], front[1]}, 0.91, kNoLimit), std::nullopt);
}

TEST(TuningPointTest, KeepsToTheP99Limit) {
  std::vector<TuningPoint> front =
      ParetoFront({Point(10, 0, 0.5, 1), Point(20, 0, 0.9, 2), Point(30, 0, 1.0, 3)});
  for (size_t i = 0; i < 3; ++i) front[i].p99 = absl::Milliseconds(10 * (i + 1));
  EXPECT_EQ(ChoosePoint(front, 0.9, absl::Milliseconds(20)), 1u);
  EXPECT_EQ(ChoosePoint(front, 0.9, absl::Milliseconds(19)), std::nullopt);
  EXPECT_EQ(ChoosePoint(front, 0.95, absl::Milliseconds(29)), std::nullopt);
  // The best within the limit; without any, the cheapest.
  EXPECT_EQ(ChooseBestEffort(front, absl::Milliseconds(29)), 1u);
  EXPECT_EQ(ChooseBestEffort(front, absl::Milliseconds(5)), 0u);
  EXPECT_EQ(ChooseBestEffort(front, kNoLimit), 2u);
}

TEST(TuningPointTest, QuantilesAreByNearestRank) {
  std::vector<absl::Duration> values;
  for (int i = 100; i >= 1; --i) values.push_back(absl::Seconds(i));
  EXPECT_EQ(Quantile(values, 0.5), absl::Seconds(50));
  EXPECT_EQ(Quantile(values, 0.99), absl::Seconds(99));
  EXPECT_EQ(Quantile(values, 1), absl::Seconds(100));
  EXPECT_EQ(Quantile({absl::Seconds(3)}, 0.01), absl::Seconds(3));
  EXPECT_EQ(Quantile({absl::Seconds(3), absl::Seconds(1), absl::Seconds(2)}, 0.5),
            absl::Seconds(2));
}

}  // namespace
}  // namespace dime
