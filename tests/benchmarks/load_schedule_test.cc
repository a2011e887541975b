#include "benchmarks/load_schedule.h"

#include <algorithm>

#include "gtest/gtest.h"

namespace dime {
namespace {

TEST(PoissonArrivalsTest, ComeAtTheRateWithGapsThatVaryAsTheyShould) {
  const std::vector<absl::Duration> arrivals = PoissonArrivals(200, absl::Seconds(100), 7);
  // 20,000 on average, with a deviation of 141.
  EXPECT_NEAR(arrivals.size(), 20000, 600);
  EXPECT_TRUE(std::is_sorted(arrivals.begin(), arrivals.end()));
  EXPECT_GE(arrivals.front(), absl::ZeroDuration());
  EXPECT_LT(arrivals.back(), absl::Seconds(100));
  // Of exponential gaps, exp(-1) are longer than the mean.
  int longer = 0;
  for (size_t i = 1; i < arrivals.size(); ++i) {
    longer += arrivals[i] - arrivals[i - 1] > absl::Milliseconds(5);
  }
  EXPECT_NEAR(longer / static_cast<double>(arrivals.size()), 0.368, 0.02);
}

TEST(PoissonArrivalsTest, AreTheSameForTheSameSeedAlone) {
  const auto of = [](uint64_t seed) { return PoissonArrivals(50, absl::Seconds(2), seed); };
  EXPECT_EQ(of(1), of(1));
  EXPECT_NE(of(1), of(2));
}

TEST(PoissonArrivalsTest, ALongerLoadBeginsAsAShorterOne) {
  const std::vector<absl::Duration> whole = PoissonArrivals(50, absl::Seconds(4), 3);
  const std::vector<absl::Duration> part = PoissonArrivals(50, absl::Seconds(2), 3);
  ASSERT_LT(part.size(), whole.size());
  EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin()));
}

TEST(PoissonArrivalsTest, NoRateIsNoCalls) {
  EXPECT_TRUE(PoissonArrivals(0, absl::Seconds(2), 1).empty());
}

}  // namespace
}  // namespace dime
