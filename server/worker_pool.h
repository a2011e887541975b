#ifndef DIME_SERVER_WORKER_POOL_H_
#define DIME_SERVER_WORKER_POOL_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"

namespace dime {

// Threads that run searches, behind a queue of limited length: the transport's own threads only put
// work in, and a full queue is told at once rather than growing.
// Thread-safe. Destruction runs what is queued to its end. Tasks must not throw.
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

  // False, with the task not taken, if the queue is full.
  bool TrySubmit(std::function<void()> task) ABSL_LOCKS_EXCLUDED(mutex_);
  // Tasks that wait for a thread.
  int64_t queued() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Work();

  const Options options_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;  // last: they use all of the above
};

}  // namespace dime

#endif  // DIME_SERVER_WORKER_POOL_H_
