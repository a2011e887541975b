#include "server/rate_limiter.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/error_details.h"

namespace dime {
namespace {

class RateLimiterTest : public ::testing::Test {
 protected:
  RateLimiter Limiter(double rate, size_t max_clients = 100) {
    return RateLimiter(
        {.calls_per_second = rate, .max_clients = max_clients, .now = [this] { return now_; }});
  }
  // Calls that are taken one after another, at most `most`.
  static int Taken(RateLimiter& limiter, const std::string& client, int most = 1000) {
    int taken = 0;
    while (taken < most && limiter.Take(client).ok()) ++taken;
    return taken;
  }

  absl::Time now_ = absl::FromUnixSeconds(1000);
};

TEST_F(RateLimiterTest, EachClientHasAsManyCallsASecond) {
  RateLimiter limiter = Limiter(5);
  EXPECT_EQ(Taken(limiter, "a"), 5);
  EXPECT_EQ(Taken(limiter, "b"), 5);
  now_ += absl::Milliseconds(400);
  EXPECT_EQ(Taken(limiter, "a"), 2);
  now_ += absl::Hours(1);
  EXPECT_EQ(Taken(limiter, "a"), 5) << "what was not used is not saved up";
}

TEST_F(RateLimiterTest, ARefusalSaysWhyAndWhenToComeAgain) {
  RateLimiter limiter = Limiter(2);
  Taken(limiter, "a");
  const absl::Status refused = limiter.Take("a");
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(refused), v1::ERROR_REASON_QUOTA_EXCEEDED);
  EXPECT_EQ(RetryDelayOf(refused, absl::ZeroDuration()), absl::Milliseconds(500));
  now_ += absl::Milliseconds(500);
  EXPECT_TRUE(limiter.Take("a").ok());
}

TEST_F(RateLimiterTest, WhatCountsForSeveralIsPaidOffLater) {
  RateLimiter limiter = Limiter(10);
  EXPECT_TRUE(limiter.Take("a").ok());
  limiter.Charge("a", 24);
  EXPECT_EQ(RetryDelayOf(limiter.Take("a"), absl::ZeroDuration()), absl::Seconds(1.6));
  now_ += absl::Milliseconds(1700);
  EXPECT_EQ(Taken(limiter, "a"), 2);
}

TEST_F(RateLimiterTest, ARateBelowOneLetsACallThroughAtTimes) {
  RateLimiter limiter = Limiter(0.1);
  EXPECT_EQ(Taken(limiter, "a"), 1);
  now_ += absl::Seconds(9);
  EXPECT_EQ(Taken(limiter, "a"), 0);
  now_ += absl::Seconds(1);
  EXPECT_EQ(Taken(limiter, "a"), 1);
}

TEST_F(RateLimiterTest, ManyClientsDoNotMakeItForgetTheBusyOnes) {
  RateLimiter limiter = Limiter(5, /*max_clients=*/3);
  EXPECT_EQ(Taken(limiter, "quiet", 1), 1);
  now_ += absl::Seconds(1);
  EXPECT_EQ(Taken(limiter, "busy"), 5);
  EXPECT_EQ(Taken(limiter, "other", 1), 1);
  EXPECT_EQ(Taken(limiter, "new", 1), 1) << "the quiet one makes room";
  EXPECT_EQ(Taken(limiter, "busy"), 0);
}

}  // namespace
}  // namespace dime
