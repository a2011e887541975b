#include "index/acknowledged_mark.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "index/directory_lock.h"
#include "tests/index/file_fixtures.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(AcknowledgedMarkTest, RemembersTheLatestOrNothing) {
  const std::string path = FreshDirectory() + "/mark";
  {
    ASSERT_OK_AND_ASSIGN(const auto mark, AcknowledgedMark::Open(path));
    EXPECT_EQ(mark->found(), std::nullopt);
    ASSERT_THAT(mark->Set(7), IsOk());
    ASSERT_THAT(mark->Set(12), IsOk());
  }
  EXPECT_EQ((*AcknowledgedMark::Open(path))->found(), 12);
  const std::string whole = ReadFile(path);
  ForEachDamage(whole, whole.size(), [&](const std::string& damaged, const std::string& what) {
    WriteFile(path, damaged);
    // What follows the mark is not looked at.
    if (damaged.size() > whole.size()) return;
    EXPECT_EQ((*AcknowledgedMark::Open(path))->found(), std::nullopt) << what;
  });
}

TEST(DirectoryLockTest, OneHolderAtATime) {
  const std::string directory = FreshDirectory();
  {
    ASSERT_OK_AND_ASSIGN(const auto lock, DirectoryLock::Take(directory));
    EXPECT_THAT(DirectoryLock::Take(directory),
                StatusIs(absl::StatusCode::kFailedPrecondition,
                         AllOf(HasSubstr(directory), HasSubstr("another process"))));
  }
  EXPECT_THAT(DirectoryLock::Take(directory), IsOk());
  EXPECT_THAT(DirectoryLock::Take(directory + "/absent"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("LOCK")));
}

}  // namespace
}  // namespace dime
