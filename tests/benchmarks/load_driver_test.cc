#include "benchmarks/load_driver.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "gtest/gtest.h"

namespace dime {
namespace {

// A service that answers on a thread of its own, one call after the other, once so many wait.
class FakeService {
 public:
  explicit FakeService(size_t batch) : batch_(batch), thread_([this] { Work(); }) {}
  ~FakeService() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  LoadDriver::Call call() {
    return [this](int64_t number, absl::Time deadline, LoadDriver::Done done) {
      {
        std::lock_guard<std::mutex> lock(mutex_);
        numbers.push_back(number);
        deadlines.push_back(deadline);
        waiting_.push_back(std::move(done));
        most_waiting = std::max(most_waiting, waiting_.size());
      }
      changed_.notify_all();
    };
  }
  // For after the load.
  std::vector<int64_t> numbers;
  std::vector<absl::Time> deadlines;
  size_t most_waiting = 0;

 private:
  void Work() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stopping_ || waiting_.size() >= batch_; });
      if (stopping_) return;
      std::deque<LoadDriver::Done> batch = std::exchange(waiting_, {});
      lock.unlock();
      for (const LoadDriver::Done& done : batch) done(CallOutcome());
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  const size_t batch_;
  bool stopping_ = false;
  std::deque<LoadDriver::Done> waiting_;
  std::thread thread_;
};

TEST(LoadDriverTest, AClosedLoopNeverHasMoreCallsUnderWayThanCallers) {
  FakeService service(1);
  LoadDriver driver(service.call(), absl::Seconds(10));
  const std::vector<CallOutcome> records = driver.RunClosed(3, absl::Milliseconds(50));
  EXPECT_GT(records.size(), 3u);  // each caller goes on
  EXPECT_EQ(records.size(), service.numbers.size());
  EXPECT_LE(service.most_waiting, 3u);
  for (const CallOutcome& record : records) {
    EXPECT_LT(record.intended, absl::Milliseconds(50));
    EXPECT_GE(record.done, record.sent);
  }
}

TEST(LoadDriverTest, AnOpenLoopSendsWithoutWaitingForAnswers) {
  // Nothing is answered before the tenth call is there, so that a loop which waits never ends.
  FakeService service(10);
  LoadDriver driver(service.call(), absl::Seconds(10));
  std::vector<absl::Duration> arrivals;
  for (int i = 0; i < 10; ++i) arrivals.push_back(absl::Milliseconds(i));
  const std::vector<CallOutcome> records = driver.RunOpen(arrivals);
  ASSERT_EQ(records.size(), 10u);
  EXPECT_EQ(service.most_waiting, 10u);
  for (size_t i = 0; i < records.size(); ++i) {
    EXPECT_EQ(records[i].intended, arrivals[i]);
    // The clocks of sleeping and of telling are two.
    EXPECT_GE(records[i].sent, arrivals[i] - absl::Milliseconds(1));
    EXPECT_GE(records[i].done, absl::Milliseconds(8));  // of the first too, whose latency shows it
  }
}

TEST(LoadDriverTest, DeadlinesCountFromWhenACallIsDue) {
  FakeService service(1);
  LoadDriver driver(service.call(), absl::Seconds(10));
  driver.RunOpen({absl::ZeroDuration(), absl::Milliseconds(20)});
  ASSERT_EQ(service.deadlines.size(), 2u);
  EXPECT_EQ(service.deadlines[1] - service.deadlines[0], absl::Milliseconds(20));
}

TEST(LoadDriverTest, NumbersGoOnFromLoadToLoad) {
  FakeService service(1);
  LoadDriver driver(service.call(), absl::Seconds(10));
  driver.RunOpen({absl::ZeroDuration(), absl::ZeroDuration()});
  driver.RunOpen({absl::ZeroDuration()});
  EXPECT_EQ(std::set<int64_t>(service.numbers.begin(), service.numbers.end()),
            (std::set<int64_t>{0, 1, 2}));
  EXPECT_TRUE(driver.RunOpen({}).empty());
}

}  // namespace
}  // namespace dime
