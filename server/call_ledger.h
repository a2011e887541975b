#ifndef DIME_SERVER_CALL_LEDGER_H_
#define DIME_SERVER_CALL_LEDGER_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"

namespace dime {

// Knows how many calls are under way over all of the server's services, so that a server that
// closes can refuse new ones, tell those that last (streams), and wait for the rest. Thread-safe;
// must outlive the calls. The mutex is the standard library's, which ThreadSanitizer sees through.
class CallLedger {
 public:
  // A call begins; false if the server is closing, so that it is to be refused. Either way End()
  // must follow. `on_draining` is called once when the server begins to close, on the thread that
  // closes it, unless it was closing already or the call has ended; it may be empty.
  struct Entry {
    int64_t number = 0;
    bool admitted = false;
  };
  Entry Begin(std::function<void()> on_draining = nullptr) ABSL_LOCKS_EXCLUDED(mutex_);
  // The last touch of the call named by Begin().
  void End(const Entry& entry) ABSL_LOCKS_EXCLUDED(mutex_);

  // From now on calls are not admitted.
  void StartDraining() ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits until every call is over, or the time has come; false for the latter.
  bool AwaitCalls(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  std::mutex mutex_;
  std::condition_variable calls_done_;
  int64_t calls_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t next_number_ ABSL_GUARDED_BY(mutex_) = 0;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<int64_t, std::function<void()>> listeners_ ABSL_GUARDED_BY(mutex_);  // by call number
};

}  // namespace dime

#endif  // DIME_SERVER_CALL_LEDGER_H_
