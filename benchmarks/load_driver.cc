#include "benchmarks/load_driver.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

namespace dime {

void LoadDriver::Send(absl::Duration due, std::function<void()> then) {
  int64_t number;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    number = next_number_++;
    ++under_way_;
  }
  const absl::Duration sent = absl::Now() - start_;
  call_(number, start_ + due + deadline_,
        [this, due, sent, then = std::move(then)](CallOutcome outcome) {
          outcome.intended = due;
          outcome.sent = sent;
          outcome.done = absl::Now() - start_;
          {
            std::lock_guard<std::mutex> lock(mutex_);
            records_.push_back(std::move(outcome));
          }
          // Before this call is counted as over, so that the load is not taken for done in between.
          if (then) then();
          std::lock_guard<std::mutex> lock(mutex_);
          if (--under_way_ == 0) answered_.notify_all();
        });
}

void LoadDriver::AwaitAll() {
  std::unique_lock<std::mutex> lock(mutex_);
  answered_.wait(lock, [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return under_way_ == 0; });
}

std::vector<CallOutcome> LoadDriver::TakeRecords() {
  std::lock_guard<std::mutex> lock(mutex_);
  return std::exchange(records_, {});
}

void LoadDriver::GoOn(absl::Duration length) {
  const absl::Duration now = absl::Now() - start_;
  if (now < length) Send(now, [this, length] { GoOn(length); });
}

std::vector<CallOutcome> LoadDriver::RunClosed(int callers, absl::Duration length) {
  start_ = absl::Now();
  for (int i = 0; i < callers; ++i) GoOn(length);
  AwaitAll();
  return TakeRecords();
}

std::vector<CallOutcome> LoadDriver::RunOpen(const std::vector<absl::Duration>& arrivals) {
  start_ = absl::Now();
  const auto steady_start = std::chrono::steady_clock::now();
  for (const absl::Duration due : arrivals) {
    std::this_thread::sleep_until(steady_start + absl::ToChronoNanoseconds(due));
    Send(due, nullptr);
  }
  AwaitAll();
  return TakeRecords();
}

}  // namespace dime
