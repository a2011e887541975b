#ifndef DIME_SERVER_TUNING_POINT_H_
#define DIME_SERVER_TUNING_POINT_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/time/time.h"

namespace dime {

// A setting of two-stage search, and what was measured with it over a sample of queries.
struct TuningPoint {
  int rerank_depth = 0;
  int search_effort = 0;       // 0 for an index that knows none
  double recall = 0;           // mean share of the exhaustive top k that it keeps, 0 to 1
  double recall_error = 0;     // standard error of that mean
  double pairs = 0;            // reranked per query, mean
  absl::Duration recall_time;  // of the coarse index, median
  // What settings are compared by: recall_time plus the pairs' time at the rate of exhaustive
  // scoring, which knows less noise than whole searches do.
  absl::Duration cost;
  // Of whole searches, one at a time; zero where none was run.
  absl::Duration median;
  absl::Duration p99;
};

// The points that no other beats: for each, none costs as little and keeps as much, one of the two
// strictly better. Ascending in cost and in recall.
std::vector<TuningPoint> ParetoFront(std::vector<TuningPoint> points);

// The place in `front`, as ParetoFront() gives it, of the cheapest point that keeps `target_recall`
// with a p99 of at most `p99_limit`; nothing if there is none.
std::optional<size_t> ChoosePoint(const std::vector<TuningPoint>& front, double target_recall,
                                  absl::Duration p99_limit);

// The next best where there is none: what keeps most within the limit, or the cheapest of all if
// nothing keeps to it. `front` must not be empty.
size_t ChooseBestEffort(const std::vector<TuningPoint>& front, absl::Duration p99_limit);

// The `share` quantile by nearest rank: 0.5 of an odd number of values is the middle one, 0.99 of a
// hundred the 99th. `values` must not be empty.
absl::Duration Quantile(std::vector<absl::Duration> values, double share);

}  // namespace dime

#endif  // DIME_SERVER_TUNING_POINT_H_
