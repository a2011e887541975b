#ifndef DIME_SERVER_RATE_LIMITER_H_
#define DIME_SERVER_RATE_LIMITER_H_

#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace dime {

// Holds each client to so many calls a second, by a bucket that fills at that rate and holds as
// many calls as a second brings, at least one. A call may count for several, as a batch does: what
// it takes too much is paid off by those that follow. Clients that were quiet for as long as their
// bucket takes to fill are forgotten. Thread-safe.
class RateLimiter {
 public:
  struct Options {
    double calls_per_second = 1;  // above 0
    size_t max_clients = 100000;  // that are remembered; beyond, the table begins anew
    std::function<absl::Time()> now = [] { return absl::Now(); };
  };
  explicit RateLimiter(Options options);

  // The client makes a call: OK, or RESOURCE_EXHAUSTED with QUOTA_EXCEEDED and when to try again.
  absl::Status Take(const std::string& client) ABSL_LOCKS_EXCLUDED(mutex_);
  // The call that was taken counts for so many more.
  void Charge(const std::string& client, int calls) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Bucket {
    double calls;  // in it at `time`; below 0 while something is being paid off
    absl::Time time;
  };
  // The client's, as full as it is now.
  Bucket& Find(const std::string& client, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Forget(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  double CallsAt(const Bucket& bucket, absl::Time now) const;

  const Options options_;
  const double capacity_;
  std::mutex mutex_;
  std::unordered_map<std::string, Bucket> buckets_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dime

#endif  // DIME_SERVER_RATE_LIMITER_H_
