#ifndef DIME_SERVER_RELOADER_H_
#define DIME_SERVER_RELOADER_H_

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "absl/base/thread_annotations.h"

namespace dime {

// Reloads on a thread of its own, one after the other, so that whoever asks for them hears of other
// things meanwhile: a reload takes as long as loading does, and as the calls that the former
// revision still has. Thread-safe. Destruction waits for the one under way and drops what was asked
// for.
class Reloader {
 public:
  // `reload` is called on the thread.
  explicit Reloader(std::function<void()> reload);
  ~Reloader();
  Reloader(const Reloader&) = delete;
  Reloader& operator=(const Reloader&) = delete;

  // Asks for a reload that begins from now on; however often that is said while one is under way,
  // one more follows. Returns at once.
  void Ask() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run() ABSL_LOCKS_EXCLUDED(mutex_);

  const std::function<void()> reload_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool asked_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace dime

#endif  // DIME_SERVER_RELOADER_H_
