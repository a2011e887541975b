#ifndef DIME_SERVER_WATCHDOG_H_
#define DIME_SERVER_WATCHDOG_H_

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"

namespace dime {

// Looks, again and again, how long one step of some work has been under way, and tells when that is
// longer than any step should take, and when it goes on after all. For work whose standstill
// nothing else shows: a process whose launch hangs in a device still answers its health checks. The
// functions are called on a thread of its own, one at a time, and not after destruction.
class Watchdog {
 public:
  struct Options {
    absl::Duration limit = absl::Seconds(60);  // longer than zero
    absl::Duration period = absl::Seconds(1);  // between two looks
    // How long the step under way has taken so far; zero if there is none.
    std::function<absl::Duration()> age;
    // It stands still, or it does no longer.
    std::function<void(bool stalled)> on_change;
  };
  explicit Watchdog(Options options);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  void Run() ABSL_LOCKS_EXCLUDED(mutex_);

  const Options options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace dime

#endif  // DIME_SERVER_WATCHDOG_H_
