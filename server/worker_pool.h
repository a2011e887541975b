#ifndef DIME_SERVER_WORKER_POOL_H_
#define DIME_SERVER_WORKER_POOL_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "model/call_context.h"
#include "server/fair_queue.h"

namespace dime {

// Threads that run searches, behind a queue of limited length: the transport's own threads only put
// work in, and a full queue is told at once rather than growing. Interactive tasks go before bulk
// ones, which have half of the threads at most and every eighth turn at least; within either kind
// clients take turns. No client fills the queue alone (see ShareOf()). A task that finds the pool
// idle can be run by the thread that brings it, which then counts as one of the pool's.
// Thread-safe. Destruction runs what is queued to its end and waits for what runs. Tasks must not
// throw.
class WorkerPool {
 public:
  struct Options {
    int threads = 16;           // at least 1
    int64_t max_queued = 1024;  // tasks that no thread has taken yet; at least 1
  };
  explicit WorkerPool(const Options& options);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // False, with the task not taken, if the queue is full, or the client's share of it.
  bool TrySubmit(std::function<void()> task, const std::string& client = "",
                 Priority priority = Priority::kInteractive) ABSL_LOCKS_EXCLUDED(mutex_);
  // Runs an interactive task on the calling thread, if the pool has nothing else to do: no thread
  // need be woken then. False, with the task not run, otherwise.
  bool TryRunHere(const std::function<void()>& task) ABSL_LOCKS_EXCLUDED(mutex_);
  // Tasks that wait for a thread.
  int64_t queued() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using Task = std::function<void()>;

  void Work();
  // Whether no more tasks run than the pool has threads, those on other threads included.
  bool ThreadIsFree() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return running_ < options_.threads;
  }
  bool NothingQueued() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return interactive_.empty() && bulk_.empty();
  }
  // Whether a bulk task may be taken now.
  bool BulkMayRun() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !bulk_.empty() && running_bulk_ < max_running_bulk_;
  }
  bool FitsShare(const std::string& client) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  const int max_running_bulk_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  FairQueue<Task> interactive_ ABSL_GUARDED_BY(mutex_);
  FairQueue<Task> bulk_ ABSL_GUARDED_BY(mutex_);
  int running_ ABSL_GUARDED_BY(mutex_) = 0;  // tasks of both kinds
  int running_bulk_ ABSL_GUARDED_BY(mutex_) = 0;
  int turns_before_bulk_ ABSL_GUARDED_BY(mutex_) = 0;  // interactive ones since bulk waits
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;  // last: they use all of the above
};

}  // namespace dime

#endif  // DIME_SERVER_WORKER_POOL_H_
