#ifndef DIME_MODEL_THREAD_TEAM_H_
#define DIME_MODEL_THREAD_TEAM_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"

namespace dime {

// A fixed set of threads that share the tasks of one call at a time. The caller works along; tasks
// are taken one by one, so that uneven ones even out. Between calls the threads sleep (OpenMP's
// would spin for a while, on cores that a server has other work for). Thread-safe. While the team
// works for one caller, another's tasks run in that caller's own thread, so that nobody waits.
// Tasks must not throw.
class ThreadTeam {
 public:
  // `threads`, the caller included, at least 1; 0: AvailableCores().
  explicit ThreadTeam(int threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return static_cast<int>(threads_.size()) + 1; }
  // Calls task(i) for each i of [0, count), from several threads; returns when all are done.
  void Run(int64_t count, absl::FunctionRef<void(int64_t)> task) {
    RunPhases(1, count, [task](int64_t, int64_t i) { task(i); });
  }
  // The same of task(phase, i) for one phase after another, each of whose tasks may use what all of
  // the phases before have done. For phases of less than a millisecond: between them threads spin,
  // where they would take longer to wake.
  void RunPhases(int64_t phases, int64_t count, absl::FunctionRef<void(int64_t, int64_t)> task);

 private:
  // One call's tasks; on its caller's stack.
  struct Call {
    absl::FunctionRef<void(int64_t, int64_t)> task;
    const int64_t phases;
    const int64_t count;            // of a phase's tasks
    std::atomic<int64_t> next{0};   // of all phases' tasks
    std::atomic<int64_t> ended{0};  // of those
    void Work();
  };
  void Serve();

  std::mutex busy_;  // held by the caller that the team works for
  std::mutex mutex_;
  std::condition_variable called_;
  std::condition_variable left_;
  Call* call_ ABSL_GUARDED_BY(mutex_) = nullptr;  // null when there is nothing to join
  int64_t call_number_ ABSL_GUARDED_BY(mutex_) = 0;
  int working_ ABSL_GUARDED_BY(mutex_) = 0;  // threads within a call
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;  // last: they use all of the above
};

}  // namespace dime

#endif  // DIME_MODEL_THREAD_TEAM_H_
