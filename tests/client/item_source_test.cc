#include "client/item_source.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr char kData[] = DIME_SOURCE_DIR "/tests/golden/tiny/data";

class ItemSourceTest : public testing::Test {
 protected:
  ItemSourceTest() {
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
  }
  ~ItemSourceTest() override { std::filesystem::remove_all(directory_); }
  std::string Write(const std::string& name, const std::string& content) const {
    const std::string path = (directory_ / name).string();
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }
  const std::filesystem::path directory_ =
      std::filesystem::path(testing::TempDir()) /
      testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(ItemSourceTest, ADataSetsItemsComeInOrderAndCanBePassedOver) {
  const auto images = OpenDatasetImages(kData, "test");
  ASSERT_TRUE(images.ok()) << images.status();
  ASSERT_EQ((*images)->size(), 3);
  ASSERT_TRUE((*images)->Skip().ok());
  const auto second = (*images)->Next();
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->image().id(), "test-1");
  EXPECT_EQ(second->features().num_regions(), 7);
  EXPECT_EQ(second->features().float32().size(), size_t{4} * 7 * second->features().feature_dim());

  const auto captions = OpenDatasetCaptions(kData, "test");
  ASSERT_TRUE(captions.ok()) << captions.status();
  ASSERT_EQ((*captions)->size(), 15);
  for (int i = 0; i < 6; ++i) ASSERT_TRUE((*captions)->Skip().ok());
  const auto seventh = (*captions)->Next();
  ASSERT_TRUE(seventh.ok());
  EXPECT_EQ(seventh->caption().id(), "test-1#1");
  EXPECT_EQ(seventh->caption().image_id(), "test-1");
  EXPECT_FALSE(seventh->caption().text().empty());
}

TEST_F(ItemSourceTest, CaptionsOfATable) {
  const auto source = OpenCaptionFile(Write("c.tsv", "a\ta red star\ti\n\n  \nb\ttwo stars\nc\n"));
  ASSERT_TRUE(source.ok()) << source.status();
  ASSERT_EQ((*source)->size(), 3);  // empty lines are none
  const auto first = (*source)->Next();
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->caption().text(), "a red star");
  EXPECT_EQ(first->caption().image_id(), "i");
  const auto second = (*source)->Next();
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->caption().image_id(), "");
  const auto third = (*source)->Next();
  EXPECT_EQ(third.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(third.status().message()),
              AllOf(HasSubstr("c.tsv line 5"), HasSubstr("1 columns")));
}

TEST_F(ItemSourceTest, WhatIsWrongWithALineIsToldWithItsNumber) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"[1]", "no JSON object"},
      {"{\"id\": \"a\"", "no JSON object"},
      {"{\"id\": \"a\", \"colour\": 1}", "colour"},
      {"{\"id\": \"a\", \"payload\": 3}", "payload"},
  };
  for (const auto& [line, what] : cases) {
    const auto source = OpenCaptionFile(Write("c.jsonl", absl::StrCat("\n", line, "\n")));
    ASSERT_TRUE(source.ok());
    const auto caption = (*source)->Next();
    EXPECT_EQ(caption.status().code(), absl::StatusCode::kInvalidArgument) << line;
    EXPECT_THAT(std::string(caption.status().message()),
                AllOf(HasSubstr("c.jsonl line 2"), HasSubstr(what)));
  }
}

TEST_F(ItemSourceTest, AnImagesFeaturesAreInTheLineOrInAFile) {
  // A float32 array (2, 1, 3) beside the lines.
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1, 3), }";
  header.resize(117, ' ');
  header += "\n";
  std::string npy("\x93NUMPY\x01\x00", 8);
  npy += std::string({static_cast<char>(header.size()), '\0'}) + header;
  const float values[] = {1, 2, 3, 4, 5, 6};
  npy.append(reinterpret_cast<const char*>(values), sizeof(values));
  Write("f.npy", npy);
  const auto source = OpenImageFile(
      Write("i.jsonl", R"({"id": "a", "npy": "f.npy", "row": 1, "payload": {"k": [true]}})"
                       "\n"
                       R"({"id": "b", "npy": "f.npy", "features": {}})"
                       "\n"
                       R"({"id": "c", "npy": "f.npy", "row": 1.5})"
                       "\n"
                       R"({"id": "d", "npy": "absent.npy", "row": 0})"
                       "\n"));
  ASSERT_TRUE(source.ok()) << source.status();
  ASSERT_EQ((*source)->size(), 4);
  const auto image = (*source)->Next();
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->image().id(), "a");
  EXPECT_TRUE(image->image().payload().fields().at("k").list_value().values(0).bool_value());
  const v1::RegionFeatures& features = image->features();
  ASSERT_EQ(features.values_size() + static_cast<int>(features.float32().size() / 4), 3);
  float last = features.values_size() > 0 ? features.values(2) : 0;
  if (!features.float32().empty()) std::memcpy(&last, features.float32().data() + 8, 4);
  EXPECT_EQ(last, 6);
  EXPECT_THAT(std::string((*source)->Next().status().message()), HasSubstr("needs either"));
  EXPECT_THAT(std::string((*source)->Next().status().message()), HasSubstr("no whole number"));
  EXPECT_THAT(std::string((*source)->Next().status().message()), HasSubstr("absent.npy"));
}

TEST_F(ItemSourceTest, AFileOfAnotherFormOrNone) {
  EXPECT_EQ(OpenCaptionFile(Write("c.csv", "a,b")).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenImageFile(Write("i.json", "{}")).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenImageFile((directory_ / "absent.tsv").string()).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_FALSE(OpenDatasetImages(directory_.string(), "test").ok());
}

}  // namespace
}  // namespace dime
