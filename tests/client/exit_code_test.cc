#include "client/exit_code.h"

#include "gtest/gtest.h"

namespace dime {
namespace {

// Scripts rely on the numbers.
TEST(ExitCodeTest, EveryStatusHasItsNumber) {
  const auto number = [](absl::StatusCode code) { return static_cast<int>(ExitCodeFor(code)); };
  EXPECT_EQ(number(absl::StatusCode::kOk), 0);
  EXPECT_EQ(number(absl::StatusCode::kInternal), 1);
  EXPECT_EQ(number(absl::StatusCode::kUnknown), 1);
  EXPECT_EQ(number(absl::StatusCode::kCancelled), 1);
  EXPECT_EQ(number(absl::StatusCode::kUnimplemented), 1);
  EXPECT_EQ(number(absl::StatusCode::kInvalidArgument), 3);
  EXPECT_EQ(number(absl::StatusCode::kOutOfRange), 3);
  EXPECT_EQ(number(absl::StatusCode::kNotFound), 4);
  EXPECT_EQ(number(absl::StatusCode::kFailedPrecondition), 4);
  EXPECT_EQ(number(absl::StatusCode::kUnavailable), 5);
  EXPECT_EQ(number(absl::StatusCode::kDeadlineExceeded), 6);
  EXPECT_EQ(number(absl::StatusCode::kResourceExhausted), 7);
  EXPECT_EQ(number(absl::StatusCode::kAlreadyExists), 9);
  EXPECT_EQ(number(absl::StatusCode::kUnauthenticated), 11);
  EXPECT_EQ(number(absl::StatusCode::kPermissionDenied), 11);
}

}  // namespace
}  // namespace dime
