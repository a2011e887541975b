#include "model/thread_team.h"

#include "model/available_cores.h"

namespace dime {
namespace {

constexpr int kSpins = 1000;  // some microseconds

}  // namespace

ThreadTeam::ThreadTeam(int threads) {
  if (threads <= 0) threads = AvailableCores();
  for (int i = 1; i < threads; ++i) threads_.emplace_back([this] { Serve(); });
}

ThreadTeam::~ThreadTeam() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  called_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadTeam::Call::Work() {
  for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < phases * count;) {
    // Tasks are taken in order, each by a thread that runs it once those before its phase have
    // ended: the first that has not is never one that waits.
    const int64_t phase = i / count;
    for (int spins = 0; ended.load(std::memory_order_acquire) < phase * count; ++spins) {
      if (spins > kSpins) std::this_thread::yield();  // its thread may need this core
    }
    task(phase, i - phase * count);
    ended.fetch_add(1, std::memory_order_release);
  }
}

void ThreadTeam::RunPhases(int64_t phases, int64_t count,
                           absl::FunctionRef<void(int64_t, int64_t)> task) {
  Call call{.task = task, .phases = phases, .count = count};
  std::unique_lock<std::mutex> mine(busy_, std::defer_lock);
  if (count < 2 || threads_.empty() || !mine.try_lock()) {
    call.Work();
    return;
  }
  {
    std::lock_guard<std::mutex> lock(mutex_);
    call_ = &call;
    ++call_number_;
  }
  called_.notify_all();
  call.Work();
  // A thread that has not woken by now finds nothing to join.
  std::unique_lock<std::mutex> lock(mutex_);
  call_ = nullptr;
  left_.wait(lock, [this] { return working_ == 0; });
}

void ThreadTeam::Serve() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (int64_t served = 0;;) {
    called_.wait(
        lock, [this, served] { return stopping_ || (call_ != nullptr && call_number_ != served); });
    if (stopping_) return;
    Call* const call = call_;
    served = call_number_;
    ++working_;
    lock.unlock();
    call->Work();
    lock.lock();
    if (--working_ == 0) left_.notify_all();
  }
}

}  // namespace dime
