#ifndef DIME_SERVER_PIPELINE_STOPWATCH_H_
#define DIME_SERVER_PIPELINE_STOPWATCH_H_

#include <chrono>
#include <utility>

#include "absl/time/time.h"

namespace dime {

// Measures wall time by a clock that never jumps. Not thread-safe.
class Stopwatch {
 public:
  // Since construction.
  absl::Duration Elapsed() const { return absl::FromChrono(Clock::now() - start_); }
  // Since the last Lap(), or construction.
  absl::Duration Lap() {
    const Clock::time_point now = Clock::now();
    return absl::FromChrono(now - std::exchange(lap_start_, now));
  }

 private:
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start_ = Clock::now();
  Clock::time_point lap_start_ = start_;
};

}  // namespace dime

#endif  // DIME_SERVER_PIPELINE_STOPWATCH_H_
