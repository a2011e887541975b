#include "model/fair_share.h"

#include <random>

#include "gtest/gtest.h"

namespace dime {
namespace {

TEST(FairShareTest, OthersWorkAsLongAsTheNewcomer) {
  EXPECT_EQ(WorkUntilDone({}, 100), 100);
  EXPECT_EQ(WorkUntilDone({30, 1000}, 100), 100 + 30 + 100);
}

TEST(FairShareTest, AnEmptyQueueIsTheNewcomersAlone) {
  EXPECT_EQ(LargestDoneWithin({}, 250.7), 250);
  EXPECT_EQ(LargestDoneWithin({}, -3), 0);
}

TEST(FairShareTest, ThereIsRoomForOneWhoComesAnew) {
  EXPECT_EQ(ShareOf(1000, 0), 750);
  for (const size_t clients : {1, 2, 5, 40}) {
    EXPECT_NEAR(ShareOf(1000, clients - 1) * static_cast<double>(clients), 750, 1e-9);
  }
}

TEST(FairShareTest, TheLargestIsTheLargest) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<int64_t> left(random() % 6);
    for (int64_t& other : left) other = random() % 300;
    const auto work = static_cast<double>(random() % 2000);
    const int64_t largest = LargestDoneWithin(left, work);
    EXPECT_LE(static_cast<double>(WorkUntilDone(left, largest)), work);
    EXPECT_GT(static_cast<double>(WorkUntilDone(left, largest + 1)), work);
  }
}

}  // namespace
}  // namespace dime
