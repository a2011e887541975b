#ifndef DIME_MODEL_BATCHING_SCORER_H_
#define DIME_MODEL_BATCHING_SCORER_H_

#include <array>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "model/call_context.h"
#include "model/pair_scorer.h"
#include "model/scoring_rate.h"

namespace dime {

// Lets concurrent queries share launches of a PairScorer: callers block while one batch thread
// takes what is queued, up to `max_batch_pairs`, and scores it in one call. Work-conserving: it
// never waits for more work. A caller that finds nothing queued or under way makes the launch
// itself, where the scorer launches anywhere, for waking two threads costs more than the rest of a
// small request's way. A request larger than a batch is split over several, and requests take
// turns of a quarter of a batch, so that a large one does not hold up small ones. Interactive
// requests go before bulk ones, for which an eighth of each batch is kept while they wait.
// Admission is counted in pairs: past `max_queue_pairs` a request is refused at once, save that an
// empty queue takes any. A request whose deadline has passed or that was cancelled is dropped
// before it costs a launch; if a launch fails, it is bisected, so that one bad
// pair costs one answer. Thread-safe. The scorer must outlive it; destruction waits for the batch
// in flight and fails what is queued with UNAVAILABLE. The mutex is the standard library's because
// ThreadSanitizer sees through that one; distributions build Abseil's without instrumentation.
class BatchingScorer {
 public:
  // What one launch was made of, for metrics.
  struct BatchStats {
    int64_t pairs = 0;
    int requests = 0;
    absl::Duration queued;   // of the oldest request in it
    absl::Duration scoring;  // wall time of the launch
  };
  struct Options {
    int64_t max_batch_pairs = 512;                    // of one launch; at least 1
    int64_t max_queue_pairs = 65536;                  // that wait for a launch
    std::function<void(const BatchStats&)> on_batch;  // called on the launch's thread; may be empty
  };

  BatchingScorer(const PairScorer* scorer, Options options);
  ~BatchingScorer();
  BatchingScorer(const BatchingScorer&) = delete;
  BatchingScorer& operator=(const BatchingScorer&) = delete;

  // Blocks until the request is scored. What `request` points to must stay until the return.
  // RESOURCE_EXHAUSTED if the queue is full, DEADLINE_EXCEEDED or CANCELLED as `context` says,
  // UNAVAILABLE while stopping, else the scorer's own error.
  absl::StatusOr<PairScores> Score(const ScoringRequest& request, const CallContext& context);

  // How many pairs a request that came now could have scored within `time`, by what waits and by
  // the rate of late; no bound (the largest int64_t) as long as no rate is known.
  int64_t PairsWithin(ScoreMode mode, Priority priority, absl::Duration time) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Pairs times directions that were scored per second of late; 0 while nothing is known.
  double cost_per_second() const ABSL_LOCKS_EXCLUDED(mutex_);

  int64_t queued_pairs() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Age of the oldest request that waits; zero if none does.
  absl::Duration oldest_wait() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Age of the launch under way; zero if there is none.
  absl::Duration launch_age() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Job;                      // a request on its way through, on its caller's stack
  struct Chunk;                    // some of a job's rows, on their way through a launch
  using Queue = std::deque<Job*>;  // with rows not yet taken, in turn

  Queue& QueueOf(Priority priority) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return queues_[static_cast<int>(priority)];
  }
  bool idle() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return queues_[0].empty() && queues_[1].empty();
  }
  bool launching() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return launch_start_ != absl::InfiniteFuture();
  }
  void Run();
  // Scores the batch and settles it, with the lock, which is held, released in between.
  void LaunchBatch(std::vector<Chunk>& batch, std::unique_lock<std::mutex>& lock);
  // Scores a job, all in one batch, in its caller's thread; the lock is held as above.
  void LaunchOwn(Job& job, std::unique_lock<std::mutex>& lock);
  // Queues a job and waits for what becomes of it; the lock is held as above.
  void AwaitLaunch(Job& job, std::unique_lock<std::mutex>& lock);
  void DropUnwantedJobs() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<Chunk> TakeBatch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Adds rows of the queue's jobs to the batch, up to `space`; gives what is left of that.
  int64_t TakeFrom(Queue& queue, int64_t space, std::vector<Chunk>& batch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Gives how long the launch took; zero if it failed.
  absl::Duration ScoreBatch(std::vector<Chunk>& batch) const ABSL_LOCKS_EXCLUDED(mutex_);
  // Settles the chunks, at least two, of a launch that failed, by launches of halves.
  void Bisect(absl::Span<Chunk> chunks) const ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Launch(absl::Span<Chunk> chunks) const ABSL_LOCKS_EXCLUDED(mutex_);
  void SettleBatch(const std::vector<Chunk>& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes a job with rows left out of the queue.
  void Remove(const Job& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const PairScorer* const scorer_;
  const Options options_;
  const int64_t turn_pairs_;  // rows that a job may put into a batch before the next one's turn
  mutable std::mutex mutex_;
  std::condition_variable work_arrived_;  // a job may be launched, or stopping_ was set
  std::condition_variable callers_left_;  // callers_ became 0
  std::array<Queue, 2> queues_ ABSL_GUARDED_BY(mutex_);  // by Priority
  int64_t queued_pairs_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t callers_ ABSL_GUARDED_BY(mutex_) = 0;  // within Score()
  ScoringRate rate_ ABSL_GUARDED_BY(mutex_);
  // Of the launch under way; 0 and the infinite future if there is none.
  int64_t launched_cost_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Time launch_start_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace dime

#endif  // DIME_MODEL_BATCHING_SCORER_H_
