#ifndef DIME_SERVER_SAMPLED_WORK_H_
#define DIME_SERVER_SAMPLED_WORK_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <random>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "index/thread_priority.h"
#include "server/live_calls.h"

namespace dime {

// Work that is done for a share of the calls after they were answered, and that delays none: each
// 1/rate-th call offered is sampled, and one thread of the lowest priority (SCHED_IDLE, which
// threads that it starts inherit) works on the samples. Between steps it asks AwaitQuiet(), which
// waits while calls are under way; under load without a pause it therefore does not get on, and a
// sample that finds the queue full is dropped.
// Thread-safe. The live calls must outlive it. Destruction waits for the step under way at most,
// and forgets what is queued.
template <typename Sample>
class SampledWork {
 public:
  enum class Offered { kNotSampled, kQueued, kFull, kFailed };

  // `rate`: 0 to 1. `work` is called on the thread for each sample.
  SampledWork(double rate, int64_t max_queued, LiveCalls* live_calls,
              std::function<void(const Sample&)> work)
      : rate_(rate),
        max_queued_(max_queued),
        live_calls_(live_calls),
        work_(std::move(work)),
        sampled_(RandomPhase()),
        thread_([this] { Run(); }) {}
  ~SampledWork() {
    Stop();
    thread_.join();
  }
  SampledWork(const SampledWork&) = delete;
  SampledWork& operator=(const SampledWork&) = delete;

  // A call was answered. `make_sample()`, an optional sample, is called only if the call is sampled
  // and there is room; without the lock, so that it may read. Does not block otherwise.
  template <typename MakeSample>
  Offered Offer(const MakeSample& make_sample) ABSL_LOCKS_EXCLUDED(mutex_) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (stopping_ || !IsSampled()) return Offered::kNotSampled;
      if (static_cast<int64_t>(queue_.size()) + making_ >= max_queued_) return Offered::kFull;
      ++making_;
    }
    std::optional<Sample> sample = make_sample();
    std::lock_guard<std::mutex> lock(mutex_);
    --making_;
    if (!sample.has_value()) return Offered::kFailed;
    queue_.push_back(*std::move(sample));
    changed_.notify_all();
    return Offered::kQueued;
  }

  // For `work`: waits while live calls are under way; false if it is to end.
  bool AwaitQuiet() {
    live_calls_->AwaitNone([this] { return stopping_.load(); });
    return !stopping_;
  }

  // From now on nothing is sampled or worked on; returns at once.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
      changed_.notify_all();
    }
    live_calls_->Wake();
  }

 private:
  static double RandomPhase() {
    std::random_device random;
    return std::uniform_real_distribution<double>(0, 1)(random);
  }

  bool IsSampled() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    sampled_ += rate_;
    if (sampled_ < 1) return false;
    sampled_ -= 1;
    return true;
  }

  void Run() ABSL_LOCKS_EXCLUDED(mutex_) {
    TakeLowestPriority();
    while (true) {
      std::optional<Sample> sample;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
        if (stopping_) return;
        sample.emplace(std::move(queue_.front()));
        queue_.pop_front();
      }
      work_(*sample);
    }
  }

  const double rate_;
  const int64_t max_queued_;
  LiveCalls* const live_calls_;
  const std::function<void(const Sample&)> work_;
  std::mutex mutex_;
  std::condition_variable changed_;
  double sampled_ ABSL_GUARDED_BY(mutex_);  // rate x calls offered, from a random phase below 1
  std::deque<Sample> queue_ ABSL_GUARDED_BY(mutex_);
  int64_t making_ ABSL_GUARDED_BY(mutex_) = 0;  // samples that have their place in the queue
  std::atomic<bool> stopping_{false};           // set with the mutex held, for changed_
  std::thread thread_;                          // last: it uses all of the above
};

}  // namespace dime

#endif  // DIME_SERVER_SAMPLED_WORK_H_
