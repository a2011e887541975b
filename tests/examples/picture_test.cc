#include "examples/scenes/picture.h"

#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime::scenes {
namespace {

using ::testing::HasSubstr;

Picture Chequered(int width, int height) {
  Picture picture(width, height);
  for (size_t i = 0; i < picture.pixels.size(); ++i) {
    picture.pixels[i] = static_cast<uint8_t>(i * 37);
  }
  return picture;
}

TEST(PictureTest, PngKeepsEveryPixel) {
  const std::string path = ::testing::TempDir() + "/picture_test.png";
  const Picture picture = Chequered(33, 20);
  ASSERT_TRUE(WritePng(picture, path).ok());
  const auto read = ReadPng(path, 33, 20);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->pixels, picture.pixels);
}

TEST(PictureTest, OtherSizesAreScaled) {
  const std::string path = ::testing::TempDir() + "/picture_scaled_test.png";
  Picture picture(60, 30);
  std::fill(picture.pixels.begin(), picture.pixels.end(), uint8_t{200});
  ASSERT_TRUE(WritePng(picture, path).ok());
  const auto read = ReadPng(path, 120, 120);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->width, 120);
  EXPECT_THAT(read->pixels, ::testing::Each(200));
}

TEST(PictureTest, ErrorsNameTheFile) {
  const auto missing = ReadPng("/nowhere/picture.png", 120, 120);
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(missing.status().message(), HasSubstr("/nowhere/picture.png"));
  const std::string path = ::testing::TempDir() + "/no_picture.png";
  std::ofstream(path) << "not a picture";
  const auto broken = ReadPng(path, 120, 120);
  EXPECT_EQ(broken.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(broken.status().message(), HasSubstr(path));
  EXPECT_FALSE(WritePng(Chequered(2, 2), "/nowhere/picture.png").ok());
}

}  // namespace
}  // namespace dime::scenes
