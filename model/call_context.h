#ifndef DIME_MODEL_CALL_CONTEXT_H_
#define DIME_MODEL_CALL_CONTEXT_H_

#include <atomic>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace dime {

// Whether the work for one call is still wanted: its deadline, and a flag that the transport sets
// when the caller has gone. Looked at between stages and before a batch is launched.
// Thread-safe. Shared between the transport and the workers of one call.
class CallContext {
 public:
  explicit CallContext(absl::Time deadline = absl::InfiniteFuture()) : deadline_(deadline) {}

  absl::Time deadline() const { return deadline_; }
  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }

  // OK, CANCELLED or DEADLINE_EXCEEDED.
  absl::Status Check() const {
    if (cancelled_.load(std::memory_order_relaxed)) {
      return absl::CancelledError("the caller cancelled the call");
    }
    if (deadline_ != absl::InfiniteFuture() && absl::Now() >= deadline_) {
      return absl::DeadlineExceededError("the call's deadline has passed");
    }
    return absl::OkStatus();
  }

 private:
  const absl::Time deadline_;
  std::atomic<bool> cancelled_{false};
};

}  // namespace dime

#endif  // DIME_MODEL_CALL_CONTEXT_H_
