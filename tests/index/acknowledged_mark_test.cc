#include "index/acknowledged_mark.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/index/file_fixtures.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

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

}  // namespace
}  // namespace dime
