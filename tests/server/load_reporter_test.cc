#include "server/load_reporter.h"

#include <string>

#include "gtest/gtest.h"
#include "xds/data/orca/v3/orca_load_report.pb.h"

namespace dime {
namespace {

class LoadReporterTest : public ::testing::Test {
 protected:
  xds::data::orca::v3::OrcaLoadReport CallEnded(absl::StatusCode code = absl::StatusCode::kOk) {
    xds::data::orca::v3::OrcaLoadReport report;
    EXPECT_TRUE(report.ParseFromString(reporter_.CallEnded(code)));
    return report;
  }

  absl::Time now_ = absl::FromUnixSeconds(1000);
  LoadReporter::Usage usage_;
  LoadReporter reporter_{
      {.cores = 4, .usage = [this] { return usage_; }, .now = [this] { return now_; }}};
};

TEST_F(LoadReporterTest, SaysNothingBeforeItKnows) {
  now_ += absl::Milliseconds(999);
  EXPECT_EQ(reporter_.CallEnded(absl::StatusCode::kOk), "");
}

TEST_F(LoadReporterTest, TellsOfTheWindowThatHasPassed) {
  CallEnded();
  CallEnded(absl::StatusCode::kInvalidArgument);  // the caller's own fault
  CallEnded(absl::StatusCode::kResourceExhausted);
  now_ += absl::Seconds(2);
  usage_ = {.cpu = absl::Seconds(2), .launches = absl::Seconds(1.5), .queue = absl::Seconds(0.25)};
  const auto report = CallEnded(absl::StatusCode::kInternal);
  EXPECT_DOUBLE_EQ(report.cpu_utilization(), 0.25);  // two of eight core seconds
  EXPECT_DOUBLE_EQ(report.application_utilization(), 0.75);
  EXPECT_DOUBLE_EQ(report.rps_fractional(), 2);
  EXPECT_DOUBLE_EQ(report.eps(), 1);
  EXPECT_DOUBLE_EQ(report.named_metrics().at("queue_seconds"), 0.25);
  // The next window has begun; until it is over the last one is told.
  EXPECT_DOUBLE_EQ(CallEnded().rps_fractional(), 2);
  now_ += absl::Seconds(1);
  usage_.cpu += absl::Seconds(3);
  const auto next = CallEnded();
  EXPECT_DOUBLE_EQ(next.cpu_utilization(), 0.75);
  EXPECT_DOUBLE_EQ(next.application_utilization(), 0.75) << "the cores are what is busy";
  EXPECT_DOUBLE_EQ(next.rps_fractional(), 2);
  EXPECT_DOUBLE_EQ(next.eps(), 0);
}

TEST_F(LoadReporterTest, SharesStayShares) {
  now_ += absl::Seconds(1);
  usage_ = {.cpu = absl::Seconds(9), .launches = absl::Seconds(3)};
  EXPECT_DOUBLE_EQ(CallEnded().cpu_utilization(), 1);
  EXPECT_DOUBLE_EQ(CallEnded().application_utilization(), 1);
}

}  // namespace
}  // namespace dime
