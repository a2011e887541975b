#ifndef DIME_TESTS_FAKES_GATE_H_
#define DIME_TESTS_FAKES_GATE_H_

#include <condition_variable>
#include <mutex>

namespace dime {

// Holds threads up until a test lets them pass, and tells it how many have come: timing without
// sleeps. Thread-safe; once open it stays open.
class Gate {
 public:
  ~Gate() { Open(); }

  // Called by the threads under test: blocks until Open().
  void Pass() {
    std::unique_lock<std::mutex> lock(mutex_);
    ++arrivals_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  // Called by the test: blocks until `count` threads have come.
  void AwaitArrivals(int count) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this, count] { return arrivals_ >= count; });
  }
  void Open() {
    std::lock_guard<std::mutex> lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int arrivals_ = 0;
  bool open_ = false;
};

}  // namespace dime

#endif  // DIME_TESTS_FAKES_GATE_H_
