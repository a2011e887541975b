#include "index/mapped_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "absl/strings/string_view.h"
#include "tests/index/file_fixtures.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using testing::HasSubstr;

TEST(MappedFileTest, GivesTheBytesEvenAfterTheFileIsUnlinked) {
  const std::string path = FreshDirectory() + "/file";
  WriteFile(path, "some bytes");
  ASSERT_OK_AND_ASSIGN(const auto file, MappedFile::Open(path));
  std::filesystem::remove(path);
  EXPECT_EQ(
      absl::string_view(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size()),
      "some bytes");
  EXPECT_EQ(file->path(), path);
}

TEST(MappedFileTest, AnEmptyFileIsAnEmptySpan) {
  const std::string path = FreshDirectory() + "/empty";
  WriteFile(path, "");
  ASSERT_OK_AND_ASSIGN(const auto file, MappedFile::Open(path));
  EXPECT_TRUE(file->bytes().empty());
}

TEST(MappedFileTest, RefusesWhatIsNoFileAndNamesIt) {
  const std::string directory = FreshDirectory();
  EXPECT_THAT(MappedFile::Open(directory + "/absent"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/absent")));
  EXPECT_THAT(MappedFile::Open(directory),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr(directory)));
  const std::string fifo = directory + "/fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_THAT(MappedFile::Open(fifo),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr(fifo)));
}

}  // namespace
}  // namespace dime
