#ifndef DIME_SERVER_SLOW_CALLS_H_
#define DIME_SERVER_SLOW_CALLS_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "server/call_report.h"

namespace dime {

// The slow calls of late with their requests, so that they can be looked at and made once more: as
// many as there is room for, the newest. Thread-safe.
class SlowCalls {
 public:
  struct Options {
    absl::Duration threshold = absl::Seconds(1);  // a call that takes as long is slow
    int capacity = 64;                            // calls; 0: none are kept
    int64_t max_request_bytes = 1 << 20;          // a larger request is not kept with its call
    int64_t max_bytes = 32 << 20;                 // of all requests; older calls make room
  };
  explicit SlowCalls(const Options& options) : options_(options) {}

  const Options& options() const { return options_; }
  // Those as long as the threshold, and those that had less time and used it up.
  bool IsSlow(const CallReport& call) const;
  // Keeps a slow call.
  void Keep(CallReport call) ABSL_LOCKS_EXCLUDED(mutex_);
  // The newest first.
  std::vector<std::shared_ptr<const CallReport>> List() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const Options options_;
  mutable std::mutex mutex_;
  std::deque<std::shared_ptr<const CallReport>> calls_ ABSL_GUARDED_BY(mutex_);  // newest first
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;  // of their requests
};

}  // namespace dime

#endif  // DIME_SERVER_SLOW_CALLS_H_
