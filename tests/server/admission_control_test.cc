#include "server/admission_control.h"

#include <optional>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/error_details.h"

namespace dime {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kRetryDelay = absl::Milliseconds(100);

class AdmissionControlTest : public ::testing::Test {
 protected:
  absl::Status Admit(const Caller& caller, int64_t evaluations, int64_t least) {
    auto ticket = control_.Admit(caller, evaluations, least);
    if (ticket.ok()) tickets_.push_back(*std::move(ticket));
    return ticket.status();
  }
  absl::Status Admit(const std::string& client, int64_t evaluations) {
    return Admit(Caller{.client = client}, evaluations, evaluations);
  }
  Caller Hurried(const std::string& client, absl::Duration time,
                 Priority priority = Priority::kInteractive) const {
    return {.client = client, .deadline = now_ + time, .priority = priority};
  }

  double rate_ = 0;
  absl::Time now_ = absl::FromUnixSeconds(1700000000);
  AdmissionControl control_{{.max_evaluations = 1000,
                             .retry_delay = kRetryDelay,
                             .scorer_rate = [this] { return rate_; },
                             .now = [this] { return now_; }}};
  std::vector<AdmissionControl::Ticket> tickets_;
};

TEST_F(AdmissionControlTest, BoundsWhatIsAdmitted) {
  EXPECT_TRUE(Admit("a", 500).ok());
  EXPECT_TRUE(Admit("b", 370).ok());
  EXPECT_EQ(control_.evaluations(), 870);
  const absl::Status full = Admit("c", 200);
  EXPECT_EQ(ReasonOf(full), v1::ERROR_REASON_QUEUE_FULL);
  EXPECT_THAT(full.message(), HasSubstr("870 evaluations of pairs wait, 200 more"));
  EXPECT_EQ(RetryDelayOf(full, absl::ZeroDuration()), kRetryDelay);
  tickets_.clear();
  EXPECT_EQ(control_.evaluations(), 0);
  EXPECT_TRUE(Admit("c", 200).ok());
}

TEST_F(AdmissionControlTest, WhatIsAloneMayBeOfAnySize) {
  EXPECT_TRUE(Admit("a", 5000).ok());
  EXPECT_EQ(ReasonOf(Admit("b", 1)), v1::ERROR_REASON_QUEUE_FULL);
}

TEST_F(AdmissionControlTest, AClientLeavesRoomForOthers) {
  EXPECT_TRUE(Admit("a", 500).ok());
  EXPECT_TRUE(Admit("a", 250).ok());
  const absl::Status own = Admit("a", 1);
  EXPECT_EQ(own.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(own.message(), HasSubstr("this client has 750"));
  EXPECT_TRUE(Admit("b", 250).ok());
}

TEST_F(AdmissionControlTest, RefusesWhatCannotBeDoneInTime) {
  rate_ = 1000;
  EXPECT_TRUE(Admit("a", 500).ok());
  // b's 100 are done after at most 100 of a's: 200 ms.
  EXPECT_TRUE(Admit(Hurried("b", absl::Milliseconds(400)), 100, 100).ok());
  const absl::Status late = Admit(Hurried("c", absl::Milliseconds(150)), 100, 100);
  EXPECT_EQ(late.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(late), v1::ERROR_REASON_DEADLINE_UNREACHABLE);
  EXPECT_THAT(late.message(), HasSubstr("about 300 ms"));
  EXPECT_GE(RetryDelayOf(late, absl::ZeroDuration()), absl::Milliseconds(150));
  // But with less it could.
  EXPECT_TRUE(Admit(Hurried("c", absl::Milliseconds(150)), 100, 10).ok());
}

TEST_F(AdmissionControlTest, TheRestOfASearchTakesTimeToo) {
  rate_ = 1000;
  EXPECT_TRUE(Admit("a", 10).ok());
  EXPECT_TRUE(Admit(Hurried("b", absl::Milliseconds(500)), 10, 10).ok());
  const AdmissionControl::Ticket& of_b = tickets_[1];
  EXPECT_TRUE(control_.CheckTime(of_b, now_ + absl::Milliseconds(500)).ok());
  for (int n = 0; n < 100; ++n) control_.Answered({}, absl::Seconds(1));
  EXPECT_EQ(ReasonOf(control_.CheckTime(of_b, now_ + absl::Milliseconds(500))),
            v1::ERROR_REASON_DEADLINE_UNREACHABLE);
  EXPECT_TRUE(control_.CheckTime(of_b, absl::InfiniteFuture()).ok());
  EXPECT_EQ(ReasonOf(Admit(Hurried("b", absl::Milliseconds(500)), 10, 10)),
            v1::ERROR_REASON_DEADLINE_UNREACHABLE);
}

// Or else, after one slow search, a caller in more of a hurry would be refused for ever.
TEST_F(AdmissionControlTest, ASearchThatIsAloneMayTryWhateverTheOthersTook) {
  rate_ = 1000;
  for (int n = 0; n < 100; ++n) control_.Answered({}, absl::Seconds(1));
  EXPECT_TRUE(Admit(Hurried("b", absl::Milliseconds(500)), 10, 10).ok());
  EXPECT_TRUE(control_.CheckTime(tickets_[0], now_ + absl::Milliseconds(500)).ok());
  EXPECT_TRUE(control_.CheckTime({}, now_ + absl::Seconds(1)).ok());
  EXPECT_FALSE(control_.CheckTime({}, now_ + absl::Milliseconds(500)).ok()) << "not alone";
  EXPECT_TRUE(Admit("a", 10).ok());
  EXPECT_FALSE(control_.CheckTime(tickets_[0], now_ + absl::Milliseconds(500)).ok());
}

TEST_F(AdmissionControlTest, GoesByWhatIsReallyDone) {
  rate_ = 1e6;  // the scorer's, which something else holds up
  for (int n = 0; n < 20; ++n) {
    auto ticket = control_.Admit({.client = "a"}, 100, 100);
    ASSERT_TRUE(ticket.ok());
    now_ += absl::Milliseconds(100);
    control_.Answered(*ticket, absl::ZeroDuration());
    ticket = AdmissionControl::Ticket();
    now_ += absl::Seconds(10);  // nothing to do, which says nothing
  }
  // A thousand a second.
  EXPECT_TRUE(Admit("a", 500).ok());
  EXPECT_TRUE(Admit(Hurried("a", absl::Milliseconds(900)), 100, 100).ok());
  EXPECT_EQ(ReasonOf(Admit(Hurried("a", absl::Milliseconds(700)), 100, 100)),
            v1::ERROR_REASON_DEADLINE_UNREACHABLE);
}

TEST_F(AdmissionControlTest, WhatIsGivenUpIsNotDone) {
  rate_ = 1000;
  for (int n = 0; n < 20; ++n) {
    ASSERT_TRUE(Admit("a", 100).ok());
    now_ += absl::Milliseconds(1);
    tickets_.clear();
  }
  EXPECT_TRUE(Admit("a", 500).ok());
  EXPECT_EQ(ReasonOf(Admit(Hurried("a", absl::Milliseconds(500)), 100, 100)),
            v1::ERROR_REASON_DEADLINE_UNREACHABLE);
}

TEST_F(AdmissionControlTest, BulkWorkWaitsForAllOtherAndDelaysNone) {
  rate_ = 1000;
  EXPECT_TRUE(Admit(Hurried("a", absl::Seconds(60), Priority::kBulk), 700, 700).ok());
  EXPECT_TRUE(Admit(Hurried("b", absl::Milliseconds(150)), 50, 50).ok());
  EXPECT_EQ(ReasonOf(Admit(Hurried("c", absl::Milliseconds(100), Priority::kBulk), 50, 50)),
            v1::ERROR_REASON_DEADLINE_UNREACHABLE);
}

TEST_F(AdmissionControlTest, NothingIsRefusedForItsDeadlineWhileNothingWaits) {
  rate_ = 1;
  EXPECT_TRUE(Admit(Hurried("a", absl::Milliseconds(1)), 100, 100).ok());
}

TEST_F(AdmissionControlTest, AMovedTicketIsReleasedOnce) {
  std::optional<AdmissionControl::Ticket> outer;
  {
    auto ticket = control_.Admit({.client = "a"}, 7, 7);
    ASSERT_TRUE(ticket.ok());
    outer = *std::move(ticket);
  }
  EXPECT_EQ(control_.evaluations(), 7);
  outer.reset();
  EXPECT_EQ(control_.evaluations(), 0);
}

}  // namespace
}  // namespace dime
