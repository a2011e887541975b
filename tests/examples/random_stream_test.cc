#include "examples/scenes/random_stream.h"

#include <algorithm>
#include <array>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime::scenes {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAreArray;

TEST(RandomStreamTest, EqualKeysGiveEqualStreamsAndOtherKeysOthers) {
  RandomStream a({7, 1, 3}), same({7, 1, 3}), other({7, 3, 1});
  const uint64_t first = a.Next();
  EXPECT_EQ(first, same.Next());
  EXPECT_NE(first, other.Next());
}

TEST(RandomStreamTest, DistributionsStayInBoundsAndReachAllOfThem) {
  RandomStream random({1});
  std::array<int, 5> seen = {};
  for (int i = 0; i < 5000; ++i) {
    ++seen[random.Below(5)];
    const double real = random.Between(-2, 3);
    ASSERT_GE(real, -2);
    ASSERT_LT(real, 3);
  }
  for (int count : seen) EXPECT_NEAR(count, 1000, 150);
}

TEST(RandomStreamTest, WeightedNeverDrawsWhatHasNoWeight) {
  RandomStream random({2});
  std::array<int, 3> seen = {};
  for (int i = 0; i < 4000; ++i) ++seen[random.Weighted({1, 0, 3})];
  EXPECT_NEAR(seen[0], 1000, 150);
  EXPECT_EQ(seen[1], 0);
}

TEST(RandomStreamTest, ShuffleKeepsWhatItShuffles) {
  RandomStream random({3});
  std::vector<int> items = {1, 2, 3, 4, 5, 6, 7, 8};
  const std::vector<int> before = items;
  random.Shuffle(items);
  EXPECT_NE(items, before);
  EXPECT_THAT(items, UnorderedElementsAreArray(before));
}

}  // namespace
}  // namespace dime::scenes
