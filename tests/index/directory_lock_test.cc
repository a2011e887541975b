#include "index/directory_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "tests/index/file_fixtures.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(DirectoryLockTest, OneHolderAtATime) {
  const std::string directory = FreshDirectory();
  {
    ASSERT_OK_AND_ASSIGN(const auto lock, DirectoryLock::Take(directory));
    EXPECT_THAT(DirectoryLock::Take(directory),
                StatusIs(absl::StatusCode::kFailedPrecondition,
                         AllOf(HasSubstr(directory), HasSubstr("another process"),
                               HasSubstr(absl::StrCat("process ", getpid())))));
  }
  EXPECT_THAT(DirectoryLock::Take(directory), IsOk());
}

TEST(DirectoryLockTest, WhatAnEarlierHolderLeftIsNoLock) {
  const std::string directory = FreshDirectory();
  WriteFile(directory + "/LOCK", "process 123456789 and more");
  ASSERT_OK_AND_ASSIGN(const auto lock, DirectoryLock::Take(directory));
  EXPECT_EQ(ReadFile(directory + "/LOCK"), absl::StrCat("process ", getpid()));
}

TEST(DirectoryLockTest, NoDirectory) {
  EXPECT_THAT(DirectoryLock::Take(FreshDirectory() + "/absent"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("LOCK")));
}

}  // namespace
}  // namespace dime
