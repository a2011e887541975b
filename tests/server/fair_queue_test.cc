#include "server/fair_queue.h"

#include "gtest/gtest.h"

namespace dime {
namespace {

TEST(FairQueueTest, ClientsTakeTurnsInTheOrderInWhichTheyCame) {
  FairQueue<int> queue;
  for (const int task : {1, 2, 3}) queue.Push("a", task);
  queue.Push("b", 10);
  EXPECT_EQ(queue.size(), 4);
  EXPECT_EQ(queue.clients(), 2);
  EXPECT_EQ(queue.size_of("a"), 3);
  EXPECT_EQ(queue.Pop(), 1);
  EXPECT_EQ(queue.Pop(), 10);
  EXPECT_EQ(queue.size_of("b"), 0);
  queue.Push("b", 11);  // comes anew, behind the other
  EXPECT_EQ(queue.Pop(), 2);
  EXPECT_EQ(queue.Pop(), 11);
  EXPECT_EQ(queue.Pop(), 3);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.clients(), 0);
}

}  // namespace
}  // namespace dime
