#include "server/program_error.h"

#include "gtest/gtest.h"

namespace dime {
namespace {

TEST(ProgramErrorTest, OneLineAndACodeByKind) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(ReportError("dime_server", absl::NotFoundError("no model in x")), 4);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "dime_server: no model in x\n");
  EXPECT_EQ(ProgramExitFor(absl::StatusCode::kOk), ProgramExit::kOk);
  EXPECT_EQ(ProgramExitFor(absl::StatusCode::kFailedPrecondition),
            ProgramExit::kFailedPrecondition);
  EXPECT_EQ(ProgramExitFor(absl::StatusCode::kUnavailable), ProgramExit::kUnavailable);
  EXPECT_EQ(ProgramExitFor(absl::StatusCode::kInternal), ProgramExit::kOther);
}

}  // namespace
}  // namespace dime
