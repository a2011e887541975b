#include "server/call_ledger.h"

#include <utility>

namespace dime {

CallLedger::Entry CallLedger::Begin(std::function<void()> on_draining) {
  std::lock_guard<std::mutex> lock(mutex_);
  ++calls_;
  const Entry entry = {.number = next_number_++, .admitted = !draining_};
  if (entry.admitted && on_draining) listeners_.emplace(entry.number, std::move(on_draining));
  return entry;
}

void CallLedger::End(const Entry& entry) {
  // What a listener holds is released without the lock.
  std::function<void()> listener;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto found = listeners_.find(entry.number);
    if (found != listeners_.end()) {
      listener = std::move(found->second);
      listeners_.erase(found);
    }
  }
  listener = nullptr;
  // Notified under the lock: once it is released, the ledger may be gone.
  std::lock_guard<std::mutex> lock(mutex_);
  if (--calls_ == 0) calls_done_.notify_all();
}

void CallLedger::StartDraining() {
  std::map<int64_t, std::function<void()>> listeners;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    draining_ = true;
    listeners.swap(listeners_);
  }
  // Without the lock: a listener may end its call.
  for (const auto& [number, listener] : listeners) listener();
}

bool CallLedger::AwaitCalls(absl::Time deadline) {
  std::unique_lock<std::mutex> lock(mutex_);
  return calls_done_.wait_until(lock, absl::ToChronoTime(deadline), [this] { return calls_ == 0; });
}

}  // namespace dime
