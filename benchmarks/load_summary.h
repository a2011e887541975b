#ifndef DIME_BENCHMARKS_LOAD_SUMMARY_H_
#define DIME_BENCHMARKS_LOAD_SUMMARY_H_

#include <cstdint>
#include <map>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace dime {

// Wall time of one search by stage, as the server tells it; the rest is `total` less the others.
struct StageTimes {
  absl::Duration total, queue, encode, recall, rerank, select;

  absl::Duration rest() const { return total - queue - encode - recall - rerank - select; }
};

// How one call of a load went.
struct CallOutcome {
  absl::StatusCode code = absl::StatusCode::kOk;
  bool degraded = false;    // an answer that says that it is less than was asked for
  absl::Duration intended;  // when it was due, since the load's start
  absl::Duration sent;      // when it was sent
  absl::Duration done;      // when its answer was there
  bool has_stages = false;
  StageTimes stages;
};

// What a load came to. Latencies are of the calls that were answered, degraded ones among them, and
// count from the moment when a call was due, so that waiting to be sent counts too.
struct LoadSummary {
  int64_t calls = 0;
  int64_t answered = 0;
  int64_t degraded = 0;
  std::map<absl::StatusCode, int64_t> errors;
  double seconds = 0;
  double throughput = 0;  // answered calls that were not degraded, a second
  absl::Duration p50, p95, p99;
  absl::Duration lateness_p99, lateness_max;  // of sending
  StageTimes stages;                          // means
  absl::Duration outside;                     // mean latency less the mean of stages.total
};

// Of the calls due within [from, from + length), all of them finished.
LoadSummary Summarise(const std::vector<CallOutcome>& records, absl::Duration from,
                      absl::Duration length);

// The same for a closed loop, which has no calls that are due: of those that were done within it.
LoadSummary SummariseDone(const std::vector<CallOutcome>& records, absl::Duration from,
                          absl::Duration length);

// The smallest value that at least `share` of the values do not exceed; zero of none.
absl::Duration Quantile(std::vector<absl::Duration> values, double share);

// Of some runs.
struct Spread {
  double median = 0, low = 0, high = 0;
};
Spread SpreadOf(std::vector<double> values);

}  // namespace dime

#endif  // DIME_BENCHMARKS_LOAD_SUMMARY_H_
