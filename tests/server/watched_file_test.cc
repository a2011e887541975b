#include "server/watched_file.h"

#include <filesystem>

#include "gtest/gtest.h"
#include "tests/fakes/test_certificates.h"

namespace dime {
namespace {

TEST(WatchedFileTest, EachChangeIsSeenOnce) {
  const std::string path = testing::TempDir() + "/watched";
  ReplaceFile(path, "one");
  WatchedFile file(path, /*refresh=*/absl::ZeroDuration());
  EXPECT_FALSE(file.Changed());
  ReplaceFile(path, "two");  // as long, and perhaps at the same moment
  EXPECT_TRUE(file.Changed());
  EXPECT_FALSE(file.Changed());
  std::filesystem::remove(path);
  EXPECT_TRUE(file.Changed());
  EXPECT_FALSE(file.Changed());
  ReplaceFile(path, "two");
  EXPECT_TRUE(file.Changed());
  std::filesystem::remove(path);
}

TEST(WatchedFileTest, IsNotLookedAtMoreOftenThanAsked) {
  const std::string path = testing::TempDir() + "/watched-seldom";
  ReplaceFile(path, "one");
  WatchedFile file(path, /*refresh=*/absl::Hours(1));
  ReplaceFile(path, "two");
  EXPECT_FALSE(file.Changed());
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace dime
