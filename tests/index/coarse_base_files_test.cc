#include "index/coarse_base_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/index/file_fixtures.h"

namespace dime {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class CoarseBaseFilesTest : public testing::Test {
 protected:
  void Make(const std::vector<std::string>& names) {
    for (const std::string& name : names) std::ofstream(absl::StrCat(directory_, "/", name)) << "x";
  }
  std::vector<std::string> Left() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

  const std::string directory_ = FreshDirectory();
  const CoarseBaseFiles images_{directory_, "images"};
};

TEST_F(CoarseBaseFilesTest, TheLatestComesFirst) {
  EXPECT_THAT(images_.Sequences(), IsEmpty());
  EXPECT_EQ(images_.Name(42), directory_ + "/images-42");
  Make({"images-9.rows", "images-9.faiss", "images-100.rows", "images-20.rows", "captions-7.rows",
        "images-x.rows", "images-3.faiss", "images-.rows", "images-20.rows.part"});
  EXPECT_THAT(images_.Sequences(), ElementsAre(100, 20, 9));
}

TEST_F(CoarseBaseFilesTest, TheOthersGoAndWhatIsOfOthersStays) {
  Make({"images-9.rows", "images-9.faiss", "images-100.rows", "images-100.faiss",
        "images-100.faiss.part", "captions-9.rows", "living_gallery.json"});
  images_.RemoveOthers(100);
  EXPECT_THAT(Left(), UnorderedElementsAre("images-100.rows", "images-100.faiss", "captions-9.rows",
                                           "living_gallery.json"));
}

TEST_F(CoarseBaseFilesTest, KnowsAPartByItsName) {
  EXPECT_TRUE(CoarseBaseFiles::IsPart("captions-9.rows"));
  EXPECT_TRUE(CoarseBaseFiles::IsPart("images-9.faiss"));
  EXPECT_FALSE(CoarseBaseFiles::IsPart("images-9.faiss.part"));
  EXPECT_FALSE(CoarseBaseFiles::IsPart("living_gallery.json"));
}

TEST_F(CoarseBaseFilesTest, ADirectoryThatIsNotThereHasNone) {
  const CoarseBaseFiles nowhere(directory_ + "/nowhere", "images");
  EXPECT_THAT(nowhere.Sequences(), IsEmpty());
  nowhere.RemoveOthers(1);
}

}  // namespace
}  // namespace dime
