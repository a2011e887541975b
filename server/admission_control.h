#ifndef DIME_SERVER_ADMISSION_CONTROL_H_
#define DIME_SERVER_ADMISSION_CONTROL_H_

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/caller.h"

namespace dime {

// Decides at the door whether a search is worth beginning, by the work that was admitted and is not
// done: there is a bound on that, of which each client has its share, and a search that cannot be
// done by its deadline even at its least depth, behind what is due before it, is refused at once
// rather than when it is too late. Work is counted in evaluations: pairs times directions.
// The estimate takes clients to get equal turns and interactive work to go before bulk. It goes by
// what was done of late while there was anything to do, encoding and all; before anything was done,
// by the scorer's own rate, and before that is known either, none is refused for its deadline. It
// leaves a fifth of the time to chance.
// Thread-safe; must outlive its tickets. The functions are called with a lock held.
class AdmissionControl {
 public:
  struct Options {
    int64_t max_evaluations = 131072;                      // admitted and not done; at least 1
    absl::Duration retry_delay = absl::Milliseconds(250);  // told at least
    std::function<double()> scorer_rate;                   // evaluations per second; 0: unknown
    std::function<absl::Time()> now = [] { return absl::Now(); };
  };

  // Work that was admitted, until it is destroyed. Movable.
  class Ticket {
   public:
    Ticket() = default;
    Ticket(Ticket&& other) noexcept { *this = std::move(other); }
    Ticket& operator=(Ticket&& other) noexcept {
      std::swap(control_, other.control_);
      std::swap(client_, other.client_);
      std::swap(priority_, other.priority_);
      std::swap(evaluations_, other.evaluations_);
      return *this;
    }
    ~Ticket() {
      if (control_ != nullptr) control_->Release(*this);
    }

   private:
    friend class AdmissionControl;
    AdmissionControl* control_ = nullptr;
    std::string client_;
    Priority priority_ = Priority::kInteractive;
    int64_t evaluations_ = 0;
  };

  explicit AdmissionControl(Options options) : options_(std::move(options)) {}

  // A search of `evaluations`, of which `least` would do where time is short. RESOURCE_EXHAUSTED
  // with QUEUE_FULL or DEADLINE_UNREACHABLE, and with when to try again.
  absl::StatusOr<Ticket> Admit(const Caller& caller, int64_t evaluations, int64_t least)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // The search of this ticket was answered, and took so long beside its reranking.
  void Answered(const Ticket& ticket, absl::Duration rest) ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether the search of this ticket, begun now, has the time that searches take of late beside
  // their reranking. One that is alone always has: else, after one slow search, all that are in
  // more of a hurry would be refused, none be answered, and nothing faster be learnt. OK, or
  // RESOURCE_EXHAUSTED with DEADLINE_UNREACHABLE.
  absl::Status CheckTime(const Ticket& ticket, absl::Time deadline) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Of all work that was admitted and is not done.
  int64_t evaluations() const ABSL_LOCKS_EXCLUDED(mutex_);
  // How long that will take by the rate of late; zero while no rate is known.
  absl::Duration pending_time() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using Work = std::array<int64_t, 2>;  // by Priority

  void Release(const Ticket& ticket) ABSL_LOCKS_EXCLUDED(mutex_);
  // Brings the busy time up to now.
  void Tick() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Evaluations per second; 0: unknown.
  double Rate() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // How much is done until `own` of this caller's is, with what is due before it.
  double WorkBefore(const Caller& caller, int64_t own) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  mutable std::mutex mutex_;
  // Of clients that have any.
  std::unordered_map<std::string, Work> admitted_ ABSL_GUARDED_BY(mutex_);
  int64_t total_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Duration rest_ ABSL_GUARDED_BY(mutex_);  // of a search of late, beside its reranking
  // What was done while there was anything to do, and how long that was: of late counts most.
  double done_ ABSL_GUARDED_BY(mutex_) = 0;
  double busy_seconds_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Time last_tick_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
};

}  // namespace dime

#endif  // DIME_SERVER_ADMISSION_CONTROL_H_
