#include "benchmarks/load_summary.h"

#include <algorithm>
#include <cmath>

namespace dime {
namespace {

LoadSummary SummariseThese(const std::vector<const CallOutcome*>& records, absl::Duration length) {
  LoadSummary summary;
  summary.seconds = absl::ToDoubleSeconds(length);
  summary.calls = static_cast<int64_t>(records.size());
  std::vector<absl::Duration> latencies, lateness;
  StageTimes sum;
  absl::Duration latency_sum;
  int64_t staged = 0;
  for (const CallOutcome* record : records) {
    lateness.push_back(record->sent - record->intended);
    if (record->code != absl::StatusCode::kOk) {
      ++summary.errors[record->code];
      continue;
    }
    ++summary.answered;
    if (record->degraded) ++summary.degraded;
    latencies.push_back(record->done - record->intended);
    if (!record->has_stages) continue;
    ++staged;
    latency_sum += latencies.back();
    sum.total += record->stages.total;
    sum.queue += record->stages.queue;
    sum.encode += record->stages.encode;
    sum.recall += record->stages.recall;
    sum.rerank += record->stages.rerank;
    sum.select += record->stages.select;
  }
  if (summary.seconds > 0) {
    summary.throughput = static_cast<double>(summary.answered - summary.degraded) / summary.seconds;
  }
  summary.p50 = Quantile(latencies, 0.5);
  summary.p95 = Quantile(latencies, 0.95);
  summary.p99 = Quantile(latencies, 0.99);
  summary.lateness_p99 = Quantile(lateness, 0.99);
  summary.lateness_max = Quantile(lateness, 1);
  if (staged > 0) {
    summary.stages = {.total = sum.total / staged,
                      .queue = sum.queue / staged,
                      .encode = sum.encode / staged,
                      .recall = sum.recall / staged,
                      .rerank = sum.rerank / staged,
                      .select = sum.select / staged};
    summary.outside = latency_sum / staged - summary.stages.total;
  }
  return summary;
}

LoadSummary SummariseWhere(const std::vector<CallOutcome>& records,
                           absl::Duration CallOutcome::*moment, absl::Duration from,
                           absl::Duration length) {
  std::vector<const CallOutcome*> within;
  for (const CallOutcome& record : records) {
    if (record.*moment >= from && record.*moment < from + length) within.push_back(&record);
  }
  return SummariseThese(within, length);
}

}  // namespace

LoadSummary Summarise(const std::vector<CallOutcome>& records, absl::Duration from,
                      absl::Duration length) {
  return SummariseWhere(records, &CallOutcome::intended, from, length);
}

LoadSummary SummariseDone(const std::vector<CallOutcome>& records, absl::Duration from,
                          absl::Duration length) {
  return SummariseWhere(records, &CallOutcome::done, from, length);
}

absl::Duration Quantile(std::vector<absl::Duration> values, double share) {
  if (values.empty()) return absl::ZeroDuration();
  std::sort(values.begin(), values.end());
  const double place = std::ceil(share * static_cast<double>(values.size())) - 1;
  return values[static_cast<size_t>(
      std::clamp(place, 0.0, static_cast<double>(values.size() - 1)))];
}

Spread SpreadOf(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return {.median = n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2,
          .low = values.front(),
          .high = values.back()};
}

}  // namespace dime
