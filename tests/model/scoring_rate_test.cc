#include "model/scoring_rate.h"

#include "gtest/gtest.h"

namespace dime {
namespace {

TEST(ScoringRateTest, IsUnknownAtFirst) {
  ScoringRate rate;
  EXPECT_EQ(rate.per_second(), 0);
  rate.Add(0, absl::Seconds(1));
  rate.Add(100, absl::ZeroDuration());
  EXPECT_EQ(rate.per_second(), 0);
}

TEST(ScoringRateTest, WeighsLaunchesByTheirTime) {
  ScoringRate rate;
  rate.Add(100, absl::Milliseconds(10));
  EXPECT_DOUBLE_EQ(rate.per_second(), 10000);
  rate.Add(10, absl::Milliseconds(10));
  EXPECT_NEAR(rate.per_second(), 5500, 20);
}

TEST(ScoringRateTest, FollowsAMachineThatGetsSlower) {
  ScoringRate rate;
  for (int n = 0; n < 1000; ++n) rate.Add(100, absl::Milliseconds(10));
  for (int n = 0; n < 500; ++n) rate.Add(100, absl::Milliseconds(20));
  EXPECT_NEAR(rate.per_second(), 5000, 100);
}

}  // namespace
}  // namespace dime
