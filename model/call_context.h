#ifndef DIME_MODEL_CALL_CONTEXT_H_
#define DIME_MODEL_CALL_CONTEXT_H_

#include <algorithm>
#include <atomic>
#include <functional>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace dime {

// Who goes first where work waits: somebody waits for the one, the other has time.
enum class Priority { kInteractive, kBulk };

// Whether the work for one call is still wanted: its deadline, and a flag that the transport sets
// when the caller has gone. Looked at between stages and before a batch is launched. And how urgent
// it is.
// Thread-safe. Shared between the transport and the workers of one call.
class CallContext {
 public:
  // `gone`: asked besides the flag whether the caller has gone, by any thread.
  explicit CallContext(absl::Time deadline = absl::InfiniteFuture(),
                       Priority priority = Priority::kInteractive,
                       std::function<bool()> gone = nullptr)
      : deadline_(deadline), priority_(priority), gone_(std::move(gone)) {}
  // A part of the work for `whole`, which must outlive it, that has to be done earlier and may be
  // less urgent.
  CallContext(const CallContext& whole, absl::Time deadline, Priority priority)
      : whole_(&whole), deadline_(std::min(deadline, whole.deadline_)), priority_(priority) {}

  absl::Time deadline() const { return deadline_; }
  Priority priority() const { return priority_; }
  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }

  // OK, CANCELLED or DEADLINE_EXCEEDED.
  absl::Status Check() const {
    if (cancelled()) {
      return absl::CancelledError("the caller cancelled the call");
    }
    if (deadline_ != absl::InfiniteFuture() && absl::Now() >= deadline_) {
      return absl::DeadlineExceededError("the call's deadline has passed");
    }
    return absl::OkStatus();
  }

 private:
  bool cancelled() const {
    return cancelled_.load(std::memory_order_relaxed) || (gone_ != nullptr && gone_()) ||
           (whole_ != nullptr && whole_->cancelled());
  }

  const CallContext* const whole_ = nullptr;
  const absl::Time deadline_;
  const Priority priority_;
  const std::function<bool()> gone_;
  std::atomic<bool> cancelled_{false};
};

}  // namespace dime

#endif  // DIME_MODEL_CALL_CONTEXT_H_
