#include "server/worker_pool.h"

#include <atomic>
#include <memory>

#include "gtest/gtest.h"
#include "tests/fakes/gate.h"

namespace dime {
namespace {

TEST(WorkerPoolTest, RunsTasksOnAllThreadsAtOnce) {
  Gate gate;
  WorkerPool pool({.threads = 3, .max_queued = 10});
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(pool.TrySubmit([&gate] { gate.Pass(); }));
  gate.AwaitArrivals(3);  // would hang if they ran one after the other
  gate.Open();
}

TEST(WorkerPoolTest, RefusesWhatTheQueueCannotHold) {
  Gate gate;
  std::atomic<int> done = 0;
  {
    WorkerPool pool({.threads = 1, .max_queued = 2});
    ASSERT_TRUE(pool.TrySubmit([&gate] { gate.Pass(); }));
    gate.AwaitArrivals(1);
    EXPECT_TRUE(pool.TrySubmit([&done] { ++done; }));
    EXPECT_TRUE(pool.TrySubmit([&done] { ++done; }));
    EXPECT_EQ(pool.queued(), 2);
    EXPECT_FALSE(pool.TrySubmit([&done] { ++done; }));
    gate.Open();
  }
  EXPECT_EQ(done, 2) << "destruction runs what is queued";
}

TEST(WorkerPoolTest, ReleasesATaskWhenItIsDone) {
  auto held = std::make_shared<int>(0);
  const std::weak_ptr<int> watcher = held;
  {
    WorkerPool pool({.threads = 1, .max_queued = 1});
    ASSERT_TRUE(pool.TrySubmit([held = std::move(held)] {}));
  }
  EXPECT_TRUE(watcher.expired());
}

}  // namespace
}  // namespace dime
