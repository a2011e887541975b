#include "server/worker_pool.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "model/fair_share.h"

namespace dime {
namespace {

// Of the turns that interactive tasks could all have, every so many-th is a bulk task's that waits.
constexpr int kBulkTurn = 8;

}  // namespace

WorkerPool::WorkerPool(const Options& options)
    : options_(options), max_running_bulk_(std::max(1, options.threads / 2)) {
  threads_.reserve(options_.threads);
  for (int i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { Work(); });
}

WorkerPool::~WorkerPool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  // What may run yet does so on another thread than the pool's.
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return running_ == 0; });
}

bool WorkerPool::FitsShare(const std::string& client) const {
  const int64_t own = interactive_.size_of(client) + bulk_.size_of(client);
  const size_t others = interactive_.clients() + bulk_.clients() -
                        (interactive_.size_of(client) > 0 ? 1 : 0) -
                        (bulk_.size_of(client) > 0 ? 1 : 0);
  return static_cast<double>(own) <
         std::ceil(ShareOf(static_cast<double>(options_.max_queued), others));
}

bool WorkerPool::TrySubmit(std::function<void()> task, const std::string& client,
                           Priority priority) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (interactive_.size() + bulk_.size() >= options_.max_queued || !FitsShare(client)) {
      return false;
    }
    (priority == Priority::kBulk ? bulk_ : interactive_).Push(client, std::move(task));
  }
  changed_.notify_one();
  return true;
}

bool WorkerPool::TryRunHere(const std::function<void()>& task) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (running_ > 0 || !NothingQueued()) return false;
    ++running_;
  }
  task();
  std::lock_guard<std::mutex> lock(mutex_);
  --running_;
  // Otherwise nobody waits for this, and all of the pool's threads would be woken in vain.
  if (stopping_ || !NothingQueued()) changed_.notify_all();
  return true;
}

int64_t WorkerPool::queued() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return interactive_.size() + bulk_.size();
}

void WorkerPool::Work() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] {
      return (ThreadIsFree() && (!interactive_.empty() || BulkMayRun())) ||
             (stopping_ && NothingQueued());
    });
    const bool take_bulk =
        BulkMayRun() && (interactive_.empty() || turns_before_bulk_ >= kBulkTurn - 1);
    if (!take_bulk && interactive_.empty()) return;  // stopping, and nothing left
    turns_before_bulk_ = take_bulk || bulk_.empty() ? 0 : turns_before_bulk_ + 1;
    std::function<void()> task = (take_bulk ? bulk_ : interactive_).Pop();
    ++running_;
    running_bulk_ += take_bulk ? 1 : 0;
    lock.unlock();
    task();
    task = nullptr;  // what it holds is released before the lock is taken again
    lock.lock();
    --running_;
    if (take_bulk) {
      --running_bulk_;
      // Another thread may be waiting for this alone.
      changed_.notify_all();
    }
  }
}

}  // namespace dime
