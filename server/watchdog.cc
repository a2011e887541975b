#include "server/watchdog.h"

#include <utility>

namespace dime {

Watchdog::Watchdog(Options options) : options_(std::move(options)), thread_([this] { Run(); }) {}

Watchdog::~Watchdog() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Watchdog::Run() {
  bool stalled = false;
  std::unique_lock<std::mutex> lock(mutex_);
  while (!changed_.wait_for(lock, absl::ToChronoNanoseconds(options_.period),
                            [this] { return stopping_; })) {
    lock.unlock();
    const bool now = options_.age() > options_.limit;
    if (now != stalled) options_.on_change(now);
    stalled = now;
    lock.lock();
  }
}

}  // namespace dime
