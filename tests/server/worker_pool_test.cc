#include "server/worker_pool.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/gate.h"

namespace dime {
namespace {

using ::testing::ElementsAre;

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

// Names in the order in which one thread ran the tasks of these names.
class WorkerOrderTest : public ::testing::Test {
 protected:
  void Submit(const std::string& name, const std::string& client,
              Priority priority = Priority::kInteractive) {
    ASSERT_TRUE(pool_->TrySubmit([this, name] { order_.push_back(name); }, client, priority));
  }
  std::vector<std::string> Finish() {
    gate_.Open();
    pool_ = nullptr;
    return order_;
  }

  Gate gate_;
  std::vector<std::string> order_;
  std::unique_ptr<WorkerPool> pool_ = [this] {
    auto pool = std::make_unique<WorkerPool>(WorkerPool::Options{.threads = 1, .max_queued = 40});
    EXPECT_TRUE(pool->TrySubmit([this] { gate_.Pass(); }));
    gate_.AwaitArrivals(1);
    return pool;
  }();
};

TEST_F(WorkerOrderTest, ClientsTakeTurns) {
  for (const char* name : {"a1", "a2", "a3"}) Submit(name, "a");
  Submit("b1", "b");
  Submit("c1", "c");
  Submit("b2", "b");
  EXPECT_THAT(Finish(), ElementsAre("a1", "b1", "c1", "a2", "b2", "a3"));
}

TEST_F(WorkerOrderTest, InteractiveGoesFirstAndBulkEveryEighthTime) {
  for (int n = 0; n < 2; ++n) Submit("bulk", "b", Priority::kBulk);
  for (int n = 0; n < 9; ++n) Submit("quick", "a");
  const std::vector<std::string> order = Finish();
  std::vector<std::string> expected(11, "quick");
  expected[7] = expected[10] = "bulk";
  EXPECT_EQ(order, expected);
}

TEST_F(WorkerOrderTest, OneClientLeavesRoomForOthers) {
  for (int n = 0; n < 30; ++n) Submit("a", "a");
  EXPECT_FALSE(pool_->TrySubmit([] {}, "a"));
  for (int n = 0; n < 10; ++n) Submit("b", "b");
  EXPECT_FALSE(pool_->TrySubmit([] {}, "b")) << "full";
  Finish();
}

TEST(WorkerPoolTest, BulkTasksLeaveThreadsForOthers) {
  Gate gate;
  WorkerPool pool({.threads = 4, .max_queued = 40});
  for (int n = 0; n < 4; ++n) {
    ASSERT_TRUE(pool.TrySubmit([&gate] { gate.Pass(); }, "b", Priority::kBulk));
  }
  gate.AwaitArrivals(2);
  // Would hang if all threads were taken.
  for (int n = 0; n < 2; ++n) ASSERT_TRUE(pool.TrySubmit([&gate] { gate.Pass(); }, "a"));
  gate.AwaitArrivals(4);
  EXPECT_EQ(pool.queued(), 2);
  gate.Open();
}

TEST(WorkerPoolTest, AnIdlePoolsTaskCanRunOnTheThreadThatBringsIt) {
  WorkerPool pool({.threads = 2, .max_queued = 10});
  std::thread::id ran_on;
  EXPECT_TRUE(pool.TryRunHere([&ran_on] { ran_on = std::this_thread::get_id(); }));
  EXPECT_EQ(ran_on, std::this_thread::get_id());

  bool nested = true;
  EXPECT_TRUE(pool.TryRunHere([&] { nested = pool.TryRunHere([] {}); }));
  EXPECT_FALSE(nested) << "beside another task";
  Gate gate;
  ASSERT_TRUE(pool.TrySubmit([&gate] { gate.Pass(); }));
  EXPECT_FALSE(pool.TryRunHere([] {})) << "beside one that waits or runs";
  gate.AwaitArrivals(1);
  EXPECT_FALSE(pool.TryRunHere([] {})) << "beside one that runs";
  gate.Open();
}

TEST(WorkerPoolTest, ATaskOnAnotherThreadCountsAsOneOfThePools) {
  Gate here, queued;
  std::atomic<bool> left{false};
  WorkerPool pool({.threads = 2, .max_queued = 10});
  std::thread bringer([&] {
    EXPECT_TRUE(pool.TryRunHere([&] {
      here.Pass();
      left = true;
    }));
  });
  here.AwaitArrivals(1);
  for (int n = 0; n < 2; ++n) {
    ASSERT_TRUE(pool.TrySubmit([&queued, &left, n] {
      if (n == 1) EXPECT_TRUE(left) << "three ran at once";
      queued.Pass();
    }));
  }
  queued.AwaitArrivals(1);
  EXPECT_EQ(pool.queued(), 1);
  here.Open();
  queued.AwaitArrivals(2);  // would hang if the pool had not heard that a thread is free
  queued.Open();
  bringer.join();
}

TEST(WorkerPoolTest, DestructionWaitsForATaskOnAnotherThread) {
  Gate gate;
  std::atomic<bool> done{false};
  auto pool = std::make_unique<WorkerPool>(WorkerPool::Options{.threads = 1, .max_queued = 1});
  std::thread bringer([&, &pool = *pool] {
    EXPECT_TRUE(pool.TryRunHere([&] {
      gate.Pass();
      done = true;
    }));
  });
  gate.AwaitArrivals(1);
  std::thread opener([&gate] { gate.Open(); });
  pool = nullptr;
  EXPECT_TRUE(done);
  opener.join();
  bringer.join();
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
