#include "model/dime/torch_threads.h"

#include <ATen/Parallel.h>

#include <atomic>
#include <set>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace dime {
namespace {

TEST(TorchThreadsTest, EveryTaskRunsOnce) {
  std::vector<std::atomic<int>> runs(50);
  RunOnTorchThreads(50, [&](int64_t i) { runs[i].fetch_add(1); });
  for (const std::atomic<int>& times : runs) EXPECT_EQ(times.load(), 1);
}

TEST(TorchThreadsTest, OneThreadIsThisOneForAsLongAsItIsAskedFor) {
  const int before = at::get_num_threads();
  at::set_num_threads(3);
  {
    const OneTorchThread alone;
    EXPECT_EQ(at::get_num_threads(), 1);
    {
      const OneTorchThread within;
      EXPECT_EQ(at::get_num_threads(), 1);
    }
    EXPECT_EQ(at::get_num_threads(), 1);
    std::set<std::thread::id> threads;
    RunOnTorchThreads(8, [&](int64_t) { threads.insert(std::this_thread::get_id()); });
    EXPECT_EQ(threads, std::set{std::this_thread::get_id()});
    int elsewhere = 0;
    std::thread([&] { elsewhere = at::get_num_threads(); }).join();
    EXPECT_EQ(elsewhere, 3);
  }
  EXPECT_EQ(at::get_num_threads(), 3);
  at::set_num_threads(before);
}

}  // namespace
}  // namespace dime
