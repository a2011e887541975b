#ifndef DIME_SERVER_CALL_OBSERVER_H_
#define DIME_SERVER_CALL_OBSERVER_H_

#include <cstdint>
#include <functional>
#include <mutex>

#include "absl/base/thread_annotations.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/call_report.h"
#include "server/log.h"
#include "server/metrics.h"
#include "server/slow_calls.h"
#include "server/span_file.h"

namespace dime {

// Which calls get a line of their own in the log.
enum class LoggedCalls {
  kNone,
  kErrors,  // those that were not answered OK, and slow ones; a flood of them only in part
  kAll,
};

// Told of every call that has ended, and sees to it that each is found where somebody may look for
// it: a line in the log, spans in a file, the list of slow calls. What was asked for is never in
// the log, only that, by whom and how it went. Thread-safe. Its parts must outlive it.
class CallObserver {
 public:
  struct Options {
    LoggedCalls logged = LoggedCalls::kErrors;
    double trace_rate = 0;      // share of the calls that bring no trace of their own, 0 to 1
    int max_error_lines = 100;  // a second, where errors alone are logged
    std::function<absl::Time()> now = [] { return absl::Now(); };
  };
  struct Parts {
    Metrics* metrics;
    Log* log = nullptr;         // null: nothing is logged
    SpanFile* spans = nullptr;  // null: there are no spans
    SlowCalls* slow = nullptr;  // null: none are kept
  };
  CallObserver(const Parts& parts, const Options& options) : parts_(parts), options_(options) {}

  double trace_rate() const { return parts_.spans == nullptr ? 0 : options_.trace_rate; }

  void Ended(CallReport call) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void WriteLine(const CallReport& call, bool slow) ABSL_LOCKS_EXCLUDED(mutex_);
  void WriteSpans(const CallReport& call) ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether there is room for one more line, and how many there was none for since the last.
  bool TakeLine(int64_t& left_out) ABSL_LOCKS_EXCLUDED(mutex_);

  const Parts parts_;
  const Options options_;
  std::mutex mutex_;
  absl::Time second_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();  // that began then
  int lines_ ABSL_GUARDED_BY(mutex_) = 0;                             // in it
  int64_t left_out_ ABSL_GUARDED_BY(mutex_) = 0;
  bool spans_fail_ ABSL_GUARDED_BY(mutex_) = false;  // so that it is said once
};

}  // namespace dime

#endif  // DIME_SERVER_CALL_OBSERVER_H_
