#ifndef DIME_SERVER_LIVE_CALLS_H_
#define DIME_SERVER_LIVE_CALLS_H_

#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "absl/base/thread_annotations.h"

namespace dime {

// How many calls that somebody waits for are under way, so that background work (audits, shadows)
// can keep out of their way: it does a little, then waits until there is none. Streams that last do
// not count. Thread-safe; must outlive calls and background work.
class LiveCalls {
 public:
  // A call is under way until its Ended().
  void Started() ABSL_LOCKS_EXCLUDED(mutex_) {
    std::lock_guard<std::mutex> lock(mutex_);
    ++calls_;
  }
  void Ended() ABSL_LOCKS_EXCLUDED(mutex_) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (--calls_ == 0) changed_.notify_all();
  }

  // Waits while calls are under way, or until `stopped()`, which is asked again at each Wake(); it
  // is called with a lock held and must be quick.
  template <typename Stopped>
  void AwaitNone(const Stopped& stopped) ABSL_LOCKS_EXCLUDED(mutex_) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this, &stopped] { return calls_ == 0 || stopped(); });
  }
  // What makes some waiter's `stopped()` true has happened.
  void Wake() ABSL_LOCKS_EXCLUDED(mutex_) {
    // With the lock, so that nobody is between asking and waiting.
    std::lock_guard<std::mutex> lock(mutex_);
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t calls_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace dime

#endif  // DIME_SERVER_LIVE_CALLS_H_
