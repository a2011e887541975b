#include "index/thread_priority.h"

#include <sched.h>
#include <sys/resource.h>

#include <memory>
#include <thread>

#include "gtest/gtest.h"

namespace dime {
namespace {

// Of the calling thread; where SCHED_IDLE is not to be had, the nicest there is.
bool IsLowest() {
  return sched_getscheduler(0) == SCHED_IDLE || getpriority(PRIO_PROCESS, 0) == 19;
}

TEST(ThreadPriorityTest, WorkRunsAtTheLowestAndSoDoThreadsThatItStarts) {
  const bool before = IsLowest();
  bool child = false;
  const bool own = RunAtLowestPriority([&child] {
    std::thread([&child] { child = IsLowest(); }).join();
    return IsLowest();
  });
  EXPECT_TRUE(own);
  EXPECT_TRUE(child);
  EXPECT_EQ(IsLowest(), before) << "the caller keeps its own";
}

TEST(ThreadPriorityTest, LowIsBetweenTheOrdinaryAndTheLowest) {
  int low = 0;
  std::thread([&low] {
    TakeLowPriority();
    low = getpriority(PRIO_PROCESS, 0);
  }).join();
  EXPECT_GE(low, 10);
  EXPECT_LT(low, 19);
}

TEST(ThreadPriorityTest, WhatComesOutNeedNotBeCopyable) {
  const std::unique_ptr<int> made = RunAtLowestPriority([] { return std::make_unique<int>(7); });
  EXPECT_EQ(*made, 7);
}

}  // namespace
}  // namespace dime
