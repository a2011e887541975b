#include "model/thread_team.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>
#include <vector>

namespace dime {
namespace {

TEST(ThreadTeamTest, EveryTaskRunsOnce) {
  ThreadTeam team(3);
  EXPECT_EQ(team.size(), 3);
  for (int64_t count : {0, 1, 2, 100}) {
    std::vector<std::atomic<int>> runs(count);
    team.Run(count, [&](int64_t i) { runs[i].fetch_add(1); });
    for (const std::atomic<int>& times : runs) EXPECT_EQ(times.load(), 1);
  }
}

TEST(ThreadTeamTest, TasksRunAtTheSameTime) {
  ThreadTeam team(2);
  // Each task waits for the other, so that one thread alone would never end.
  std::atomic<int> arrived{0};
  team.Run(2, [&](int64_t) {
    arrived.fetch_add(1);
    while (arrived.load() < 2) std::this_thread::yield();
  });
  EXPECT_EQ(arrived.load(), 2);
}

TEST(ThreadTeamTest, APhaseUsesWhatThoseBeforeHaveDone) {
  ThreadTeam team(3);
  for (const int64_t count : {1, 2, 3, 7}) {
    // Each value is its neighbour's of the phase before, plus one.
    constexpr int64_t kPhases = 40;
    std::vector<std::vector<int64_t>> values(kPhases, std::vector<int64_t>(count));
    std::vector<std::atomic<int>> runs(kPhases * count);
    team.RunPhases(kPhases, count, [&](int64_t phase, int64_t i) {
      runs[phase * count + i].fetch_add(1);
      values[phase][i] = phase == 0 ? i : values[phase - 1][(i + 1) % count] + 1;
    });
    for (const std::atomic<int>& times : runs) EXPECT_EQ(times.load(), 1);
    for (int64_t i = 0; i < count; ++i) {
      EXPECT_EQ(values[kPhases - 1][i], (i + kPhases - 1) % count + kPhases - 1);
    }
  }
}

TEST(ThreadTeamTest, ACallerThatFindsTheTeamAtWorkDoesItsOwn) {
  ThreadTeam team(2);
  int64_t inner = 0;
  std::set<std::thread::id> threads;
  team.Run(2, [&](int64_t i) {
    if (i != 0) return;
    // The team works for the outer call.
    team.Run(5, [&](int64_t) {
      ++inner;
      threads.insert(std::this_thread::get_id());
    });
  });
  EXPECT_EQ(inner, 5);
  EXPECT_EQ(threads.size(), 1u);
}

TEST(ThreadTeamTest, ManyCallersAtOnce) {
  ThreadTeam team(2);
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int round = 0; round < 50; ++round) team.Run(10, [&](int64_t i) { sum.fetch_add(i); });
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(sum.load(), 4 * 50 * 45);
}

}  // namespace
}  // namespace dime
