#include "server/reloader.h"

#include <utility>

namespace dime {

Reloader::Reloader(std::function<void()> reload)
    : reload_(std::move(reload)), thread_([this] { Run(); }) {}

Reloader::~Reloader() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

void Reloader::Ask() {
  std::lock_guard<std::mutex> lock(mutex_);
  asked_ = true;
  changed_.notify_all();
}

void Reloader::Run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || asked_; });
    if (stopping_) return;
    asked_ = false;
    lock.unlock();
    reload_();
    lock.lock();
  }
}

}  // namespace dime
