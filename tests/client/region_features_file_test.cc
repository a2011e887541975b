#include "client/region_features_file.h"

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class RegionFeaturesFileTest : public ::testing::Test {
 protected:
  // A float32 file of this shape that holds 0, 1, 2, ...; written by hand, because NpyWriter
  // refuses shapes that hold nothing.
  std::string Write(const std::vector<int64_t>& shape) {
    const std::string path = testing::TempDir() + "region_features_file_test.npy";
    std::string header = absl::StrCat("{'descr': '<f4', 'fortran_order': False, 'shape': (",
                                      absl::StrJoin(shape, ", "), ",), }");
    header.append(118 - 1 - header.size(), ' ');
    header += '\n';
    std::ofstream file(path, std::ios::binary);
    file << std::string("\x93NUMPY\x01\x00\x76\x00", 10) << header;
    const int64_t count = std::accumulate(shape.begin(), shape.end(), int64_t{1},
                                          [](int64_t a, int64_t b) { return a * b; });
    for (int64_t i = 0; i < count; ++i) {
      const float value = static_cast<float>(i);
      file.write(reinterpret_cast<const char*>(&value), sizeof(value));
    }
    EXPECT_TRUE(file.good());
    return path;
  }
};

TEST_F(RegionFeaturesFileTest, ReadsOneImage) {
  const auto features = ReadRegionFeatures(Write({3, 2}), std::nullopt);
  ASSERT_TRUE(features.ok()) << features.status();
  EXPECT_EQ(features->num_regions(), 3);
  EXPECT_EQ(features->feature_dim(), 2);
  EXPECT_THAT(features->values(), ElementsAre(0, 1, 2, 3, 4, 5));
}

TEST_F(RegionFeaturesFileTest, ReadsTheChosenImageOfMany) {
  const auto features = ReadRegionFeatures(Write({3, 2, 2}), 2);
  ASSERT_TRUE(features.ok()) << features.status();
  EXPECT_EQ(features->num_regions(), 2);
  EXPECT_EQ(features->feature_dim(), 2);
  EXPECT_THAT(features->values(), ElementsAre(8, 9, 10, 11));
}

TEST_F(RegionFeaturesFileTest, OneImageNeedsNoRow) {
  const auto features = ReadRegionFeatures(Write({1, 1, 2}), std::nullopt);
  ASSERT_TRUE(features.ok()) << features.status();
  EXPECT_THAT(features->values(), ElementsAre(0, 1));
  EXPECT_TRUE(ReadRegionFeatures(Write({3, 2}), 0).ok());
}

TEST_F(RegionFeaturesFileTest, RowsThatDoNotFitAreNamed) {
  const absl::Status none = ReadRegionFeatures(Write({3, 2, 2}), std::nullopt).status();
  EXPECT_EQ(none.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(none.message(),
              AllOf(HasSubstr("(3, 2, 2)"), HasSubstr("3 images"), HasSubstr("--row")));
  for (const int64_t row : {int64_t{-1}, int64_t{3}, INT64_MAX, INT64_MIN}) {
    const absl::Status status = ReadRegionFeatures(Write({3, 2, 2}), row).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << row;
    EXPECT_THAT(status.message(), HasSubstr("rows are 0 to 2"));
  }
  EXPECT_THAT(ReadRegionFeatures(Write({3, 2}), 1).status().message(), HasSubstr("one image"));
}

TEST_F(RegionFeaturesFileTest, ShapesThatDoNotFitAreNamed) {
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{6}, {1, 2, 2, 2}, {0, 2}, {0, 2, 2}, {2, 0, 2}, {2, 2, 0}}) {
    const std::string path = Write(shape);
    const absl::Status status = ReadRegionFeatures(path, 0).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(status.message(), AllOf(HasSubstr(path), HasSubstr("shape")));
  }
}

TEST_F(RegionFeaturesFileTest, MissingAndMalformedFilesGiveTheFilesError) {
  const absl::Status missing = ReadRegionFeatures("/no/such/file.npy", std::nullopt).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(missing.message(), HasSubstr("/no/such/file.npy"));

  const std::string path = testing::TempDir() + "malformed.npy";
  std::ofstream(path) << "PK\x03\x04 is a zip, not an array";
  const absl::Status malformed = ReadRegionFeatures(path, std::nullopt).status();
  EXPECT_EQ(malformed.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(malformed.message(), HasSubstr(path));
  std::remove(path.c_str());
}

}  // namespace
}  // namespace dime
