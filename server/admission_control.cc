#include "server/admission_control.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "dime/v1/retrieval.pb.h"
#include "model/fair_share.h"
#include "server/error_details.h"

namespace dime {
namespace {

// A caller is not sent away for longer, however long the queue is.
constexpr absl::Duration kLongestRetryDelay = absl::Seconds(5);
// How much a further search says of the time that searches take beside their reranking.
constexpr double kNewRest = 0.1;
// Seconds of work after which what was done counts 1/e.
constexpr double kMemorySeconds = 1;
// Seconds of work from which on their rate is believed.
constexpr double kLeastSeconds = 0.05;
// Of the time that is left, what may be planned with.
constexpr double kShareOfTime = 0.8;

}  // namespace

absl::StatusOr<AdmissionControl::Ticket> AdmissionControl::Admit(const Caller& caller,
                                                                 int64_t evaluations,
                                                                 int64_t least) {
  std::lock_guard<std::mutex> lock(mutex_);
  Tick();
  const auto found = admitted_.find(caller.client);
  const Work own = found == admitted_.end() ? Work{} : found->second;
  const size_t others = admitted_.size() - (found == admitted_.end() ? 0 : 1);
  const double rate = Rate();
  const auto retry_after = [&](double work) {
    const absl::Duration delay = rate > 0 ? absl::Seconds(work / rate) : options_.retry_delay;
    return std::clamp(delay, options_.retry_delay, kLongestRetryDelay);
  };

  // What is alone may be of any size, for it delays nobody.
  const int64_t own_total = own[0] + own[1];
  const double share = ShareOf(static_cast<double>(options_.max_evaluations), others);
  if (total_ > 0 && total_ + evaluations > options_.max_evaluations) {
    return OverloadError(
        v1::ERROR_REASON_QUEUE_FULL,
        absl::StrCat("the server is full: ", total_, " evaluations of pairs wait, ", evaluations,
                     " more do not fit into ", options_.max_evaluations),
        retry_after(static_cast<double>(evaluations)));
  }
  if (own_total > 0 && static_cast<double>(own_total + evaluations) > share) {
    return OverloadError(
        v1::ERROR_REASON_QUEUE_FULL,
        absl::StrCat("this client has ", own_total, " evaluations of pairs waiting; ", evaluations,
                     " more are beyond its share of the server's queue, ",
                     static_cast<int64_t>(share)),
        retry_after(static_cast<double>(evaluations)));
  }
  if (rate > 0 && caller.deadline != absl::InfiniteFuture()) {
    const absl::Duration left = caller.deadline - options_.now();
    const double work = WorkBefore(caller, own[static_cast<int>(caller.priority)] + least);
    const absl::Duration needed = absl::Seconds(work / rate) + rest_;
    if (needed > kShareOfTime * left && total_ > 0) {
      return OverloadError(
          v1::ERROR_REASON_DEADLINE_UNREACHABLE,
          absl::StrCat("the answer would take about ", absl::ToInt64Milliseconds(needed),
                       " ms with what waits before it, and the call's deadline leaves ",
                       absl::ToInt64Milliseconds(left), " ms"),
          std::clamp(needed - kShareOfTime * left, options_.retry_delay, kLongestRetryDelay));
    }
  }

  Ticket ticket;
  if (evaluations == 0) return ticket;
  ticket.control_ = this;
  ticket.client_ = caller.client;
  ticket.priority_ = caller.priority;
  ticket.evaluations_ = evaluations;
  admitted_[caller.client][static_cast<int>(caller.priority)] += evaluations;
  total_ += evaluations;
  return ticket;
}

double AdmissionControl::WorkBefore(const Caller& caller, int64_t own) const {
  const int interactive = static_cast<int>(Priority::kInteractive);
  const int bulk = static_cast<int>(Priority::kBulk);
  double before = 0;
  std::vector<int64_t> sharers;
  for (const auto& [client, work] : admitted_) {
    if (caller.priority == Priority::kBulk) before += static_cast<double>(work[interactive]);
    if (client == caller.client) continue;
    sharers.push_back(work[caller.priority == Priority::kBulk ? bulk : interactive]);
  }
  return before + static_cast<double>(WorkUntilDone(sharers, own));
}

void AdmissionControl::Tick() {
  const absl::Time now = options_.now();
  if (total_ > 0 && now > last_tick_) {
    const double seconds = absl::ToDoubleSeconds(now - last_tick_);
    const double kept = std::exp(-seconds / kMemorySeconds);
    done_ *= kept;
    busy_seconds_ = busy_seconds_ * kept + seconds;
  }
  last_tick_ = now;
}

absl::Duration AdmissionControl::pending_time() const {
  std::lock_guard<std::mutex> lock(mutex_);
  const double rate = Rate();
  return rate > 0 ? absl::Seconds(static_cast<double>(total_) / rate) : absl::ZeroDuration();
}

double AdmissionControl::Rate() const {
  if (busy_seconds_ >= kLeastSeconds && done_ > 0) return done_ / busy_seconds_;
  return options_.scorer_rate ? options_.scorer_rate() : 0;
}

void AdmissionControl::Release(const Ticket& ticket) {
  std::lock_guard<std::mutex> lock(mutex_);
  Tick();
  total_ -= ticket.evaluations_;
  const auto found = admitted_.find(ticket.client_);
  Work& work = found->second;
  work[static_cast<int>(ticket.priority_)] -= ticket.evaluations_;
  if (work[0] == 0 && work[1] == 0) admitted_.erase(found);
}

void AdmissionControl::Answered(const Ticket& ticket, absl::Duration rest) {
  std::lock_guard<std::mutex> lock(mutex_);
  Tick();
  done_ += static_cast<double>(ticket.evaluations_);
  rest_ += kNewRest * (rest - rest_);
}

absl::Status AdmissionControl::CheckTime(const Ticket& ticket, absl::Time deadline) const {
  std::lock_guard<std::mutex> lock(mutex_);
  const bool alone = total_ <= ticket.evaluations_;
  if (deadline == absl::InfiniteFuture() || alone) return absl::OkStatus();
  const absl::Duration left = deadline - options_.now();
  if (left >= kShareOfTime * rest_) return absl::OkStatus();
  return OverloadError(v1::ERROR_REASON_DEADLINE_UNREACHABLE,
                       absl::StrCat("when its turn came the call's deadline left ",
                                    std::max<int64_t>(0, absl::ToInt64Milliseconds(left)),
                                    " ms, and searches take about ",
                                    absl::ToInt64Milliseconds(rest_), " ms beside their reranking"),
                       options_.retry_delay);
}

int64_t AdmissionControl::evaluations() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return total_;
}

}  // namespace dime
