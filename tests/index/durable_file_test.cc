#include "index/durable_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "tests/index/file_fixtures.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using testing::HasSubstr;

TEST(DurableFileTest, WritesAndReplacesWithoutLeavingAPart) {
  const std::string path = FreshDirectory() + "/file";
  ASSERT_THAT(WriteFileDurably(path, "first, and longer"), IsOk());
  ASSERT_THAT(WriteFileDurably(path, "second"), IsOk());
  EXPECT_EQ(ReadFile(path), "second");
  EXPECT_FALSE(Exists(PartPath(path)));
}

TEST(DurableFileTest, ErrorsNameThePathAndKeepTheOldFile) {
  const std::string directory = FreshDirectory();
  EXPECT_THAT(WriteFileDurably(directory + "/absent/file", "x"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("absent/file.part")));
  EXPECT_THAT(FileError(ENOSPC, "cannot write", "big.npy"),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("cannot write big.npy")));
}

TEST(DurableFileTest, ParentDirectories) {
  EXPECT_EQ(ParentDirectory("a/b/c"), "a/b");
  EXPECT_EQ(ParentDirectory("/a"), "/");
  EXPECT_EQ(ParentDirectory("a"), ".");
}

TEST(DurableFileTest, Crc32IsTheCommonOne) {
  EXPECT_EQ(Crc32(AsBytes("123456789")), 0xcbf43926u);  // the check value of its definition
  EXPECT_EQ(Crc32(AsBytes("56789"), Crc32(AsBytes("1234"))), 0xcbf43926u);
  EXPECT_EQ(Crc32({}, 0xcbf43926u), 0xcbf43926u);
  EXPECT_EQ(CombineCrc32(Crc32(AsBytes("1234")), Crc32(AsBytes("56789")), 5), 0xcbf43926u);
}

}  // namespace
}  // namespace dime
