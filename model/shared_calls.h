#ifndef DIME_MODEL_SHARED_CALLS_H_
#define DIME_MODEL_SHARED_CALLS_H_

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/types/span.h"

namespace dime {

// Lets concurrent callers share calls of something that takes several items at once: while one call
// is under way, further items wait, and the next call takes as many of them as it may.
// Work-conserving: an item that finds nothing under way goes at once. Whoever is first among those
// that wait makes the call, in its own thread, so that there are never two at a time. Thread-safe.
// The mutex is the standard library's because ThreadSanitizer sees through that one; distributions
// build Abseil's without instrumentation.
template <typename Item>
class SharedCalls {
 public:
  explicit SharedCalls(size_t max_items) : max_items_(std::max<size_t>(1, max_items)) {}
  SharedCalls(const SharedCalls&) = delete;
  SharedCalls& operator=(const SharedCalls&) = delete;

  // Returns once `call` was made with the item, and others, by this caller or another: all callers
  // give the same. `call` fills in what becomes of its items, each of which stays its caller's.
  void Run(Item& item, absl::FunctionRef<void(absl::Span<Item* const>)> call)
      ABSL_LOCKS_EXCLUDED(mutex_) {
    Waiter own = {.item = &item};
    std::unique_lock<std::mutex> lock(mutex_);
    waiting_.push_back(&own);
    own.changed.wait(lock, [this, &own]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      return own.done || (!calling_ && waiting_.front() == &own);
    });
    if (own.done) return;
    calling_ = true;
    const auto end =
        waiting_.begin() + static_cast<ptrdiff_t>(std::min(waiting_.size(), max_items_));
    const std::vector<Waiter*> batch(waiting_.begin(), end);
    waiting_.erase(waiting_.begin(), end);
    lock.unlock();
    std::vector<Item*> items;
    items.reserve(batch.size());
    for (const Waiter* waiter : batch) items.push_back(waiter->item);
    call(items);
    lock.lock();
    calling_ = false;
    if (!waiting_.empty()) waiting_.front()->changed.notify_one();
    for (Waiter* waiter : batch) {
      // With the lock, for it may be gone right after.
      waiter->done = true;
      waiter->changed.notify_one();
    }
  }

 private:
  // An item on its way, on its caller's stack.
  struct Waiter {
    Item* item;
    bool done = false;
    std::condition_variable changed{};
  };

  const size_t max_items_;
  std::mutex mutex_;
  std::deque<Waiter*> waiting_ ABSL_GUARDED_BY(mutex_);
  bool calling_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace dime

#endif  // DIME_MODEL_SHARED_CALLS_H_
