#ifndef DIME_SERVER_LOAD_REPORTER_H_
#define DIME_SERVER_LOAD_REPORTER_H_

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace dime {

// The trailer in which clients look for a server's load: an OrcaLoadReport.
inline constexpr char kLoadReportTrailer[] = "endpoint-load-metrics-bin";

// What the server says of its load with each answer, so that clients can send calls where there is
// room (see orca_load_report.proto): the share of the cores in use, the share of the time that the
// reranker was busy, calls and faults per second, all over windows of about a second, and the
// seconds of work that wait for the reranker. Thread-safe. The functions are called with a lock
// held, and what they use must outlive it.
class LoadReporter {
 public:
  // What the process has used, since any fixed time, and what waits.
  struct Usage {
    absl::Duration cpu;       // of all threads
    absl::Duration launches;  // time in which the reranker had a launch under way
    absl::Duration queue;     // that what waits for the reranker will take
  };
  struct Options {
    int cores = 1;  // that the process may use
    absl::Duration window = absl::Seconds(1);
    std::function<Usage()> usage;  // asked once a window
    std::function<absl::Time()> now = [] { return absl::Now(); };
  };
  explicit LoadReporter(Options options);

  // A call has ended; gives the report to send with its answer, serialized, or an empty string as
  // long as nothing is known yet.
  std::string CallEnded(absl::StatusCode code) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const Options options_;
  std::mutex mutex_;
  absl::Time start_ ABSL_GUARDED_BY(mutex_);    // of the window under way
  Usage used_ ABSL_GUARDED_BY(mutex_);          // until then
  int64_t calls_ ABSL_GUARDED_BY(mutex_) = 0;   // in the window under way
  int64_t faults_ ABSL_GUARDED_BY(mutex_) = 0;  // of these
  std::string report_ ABSL_GUARDED_BY(mutex_);  // of the last whole window
};

}  // namespace dime

#endif  // DIME_SERVER_LOAD_REPORTER_H_
