#ifndef DIME_BENCHMARKS_LOAD_DRIVER_H_
#define DIME_BENCHMARKS_LOAD_DRIVER_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "benchmarks/load_summary.h"

namespace dime {

// Offers calls to a service and keeps a record of each, in one of two ways. A closed loop has so
// many callers, each of which sends its next call once its last is answered: what the service can
// do. An open loop sends each call when it is due, however many are without an answer, as users do;
// latency counts from there, so that a service that falls behind is seen to (a closed loop would
// wait with it, and leave out what the waiting calls would have suffered).
// Knows nothing of what a call is. One load at a time; not thread-safe. `call` must outlive it.
class LoadDriver {
 public:
  // What a call gives back; times are the driver's to fill in.
  using Done = std::function<void(CallOutcome outcome)>;
  // Starts call `number`, which is to be given up at `deadline`, and returns without waiting;
  // `done` is called once, on any thread, but not before the return for ever and ever: a call that
  // is answered at once, on the caller's own thread, would have a closed loop call itself.
  using Call = std::function<void(int64_t number, absl::Time deadline, Done done)>;

  LoadDriver(Call call, absl::Duration deadline) : call_(std::move(call)), deadline_(deadline) {}

  // Keeps `callers` calls under way for `length`, then waits for those that are left.
  std::vector<CallOutcome> RunClosed(int callers, absl::Duration length);
  // Sends a call at each of `arrivals` (ascending, since the start), then waits for all answers.
  std::vector<CallOutcome> RunOpen(const std::vector<absl::Duration>& arrivals);

 private:
  // Sends the call with the next number; `due` counts from `start_`.
  void Send(absl::Duration due, std::function<void()> then);
  void AwaitAll() ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<CallOutcome> TakeRecords() ABSL_LOCKS_EXCLUDED(mutex_);
  // A caller of a closed loop sends its next call, unless the time is over.
  void GoOn(absl::Duration length);

  const Call call_;
  const absl::Duration deadline_;
  absl::Time start_;  // of the load; changes between loads alone
  std::mutex mutex_;
  std::condition_variable answered_;
  int64_t next_number_ ABSL_GUARDED_BY(mutex_) = 0;  // goes on from load to load
  int64_t under_way_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<CallOutcome> records_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dime

#endif  // DIME_BENCHMARKS_LOAD_DRIVER_H_
