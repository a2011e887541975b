#include "benchmarks/load_summary.h"

#include "gtest/gtest.h"

namespace dime {
namespace {

constexpr absl::Duration Ms(int64_t n) { return absl::Milliseconds(n); }

CallOutcome Answered(int64_t intended, int64_t sent, int64_t done) {
  return {.intended = Ms(intended), .sent = Ms(sent), .done = Ms(done)};
}

TEST(LoadSummaryTest, LatencyCountsFromWhenACallWasDue) {
  // Sent 40 ms late, answered 10 ms later.
  const LoadSummary summary = Summarise({Answered(0, 40, 50)}, Ms(0), Ms(1000));
  EXPECT_EQ(summary.p50, Ms(50));
  EXPECT_EQ(summary.lateness_max, Ms(40));
  EXPECT_EQ(summary.lateness_p99, Ms(40));
}

TEST(LoadSummaryTest, TheWarmUpIsLeftOutByTheMomentThatCounts) {
  // Due in the warm-up, done after it; due and done after it; due within, done after the end.
  const std::vector<CallOutcome> records = {Answered(90, 90, 150), Answered(120, 120, 140),
                                            Answered(190, 190, 260)};
  const LoadSummary by_due = Summarise(records, Ms(100), Ms(100));
  EXPECT_EQ(by_due.calls, 2);
  EXPECT_EQ(by_due.p99, Ms(70));
  EXPECT_DOUBLE_EQ(by_due.throughput, 20);
  const LoadSummary by_done = SummariseDone(records, Ms(100), Ms(100));
  EXPECT_EQ(by_done.calls, 2);
  EXPECT_EQ(by_done.p99, Ms(60));
}

TEST(LoadSummaryTest, ErrorsAndDegradedAnswersAreNoGoodput) {
  std::vector<CallOutcome> records(5, Answered(10, 10, 20));
  records[0].code = absl::StatusCode::kResourceExhausted;
  records[1].code = absl::StatusCode::kResourceExhausted;
  records[2].code = absl::StatusCode::kDeadlineExceeded;
  records[3].degraded = true;
  const LoadSummary summary = Summarise(records, Ms(0), Ms(500));
  EXPECT_EQ(summary.calls, 5);
  EXPECT_EQ(summary.answered, 2);
  EXPECT_EQ(summary.degraded, 1);
  EXPECT_EQ(summary.errors.at(absl::StatusCode::kResourceExhausted), 2);
  EXPECT_EQ(summary.errors.at(absl::StatusCode::kDeadlineExceeded), 1);
  EXPECT_DOUBLE_EQ(summary.throughput, 2);
}

TEST(LoadSummaryTest, StagesAreMeansAndTheRestIsWhatTheyLeave) {
  std::vector<CallOutcome> records = {Answered(0, 0, 30), Answered(0, 0, 50)};
  for (CallOutcome& record : records) {
    record.has_stages = true;
    record.stages = {.total = Ms(20),
                     .queue = Ms(1),
                     .encode = Ms(4),
                     .recall = Ms(2),
                     .rerank = Ms(10),
                     .select = Ms(1)};
  }
  records[1].stages.queue = Ms(3);
  const LoadSummary summary = Summarise(records, Ms(0), Ms(100));
  EXPECT_EQ(summary.stages.queue, Ms(2));
  EXPECT_EQ(summary.stages.rest(), Ms(1));
  EXPECT_EQ(summary.outside, Ms(20));
}

TEST(LoadSummaryTest, NothingIsZeros) {
  const LoadSummary summary = Summarise({}, Ms(0), Ms(100));
  EXPECT_EQ(summary.calls, 0);
  EXPECT_EQ(summary.p99, absl::ZeroDuration());
  EXPECT_DOUBLE_EQ(summary.throughput, 0);
}

TEST(QuantileTest, IsTheSmallestValueThatCoversTheShare) {
  const std::vector<absl::Duration> values = {Ms(4), Ms(1), Ms(3), Ms(2)};
  EXPECT_EQ(Quantile(values, 0), Ms(1));
  EXPECT_EQ(Quantile(values, 0.5), Ms(2));
  EXPECT_EQ(Quantile(values, 0.51), Ms(3));
  EXPECT_EQ(Quantile(values, 1), Ms(4));
}

TEST(SpreadTest, HasTheMiddleAndTheEnds) {
  const Spread odd = SpreadOf({5, 1, 3});
  EXPECT_DOUBLE_EQ(odd.median, 3);
  EXPECT_DOUBLE_EQ(odd.low, 1);
  EXPECT_DOUBLE_EQ(odd.high, 5);
  EXPECT_DOUBLE_EQ(SpreadOf({4, 2}).median, 3);
  EXPECT_DOUBLE_EQ(SpreadOf({}).median, 0);
}

}  // namespace
}  // namespace dime
