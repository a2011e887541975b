#include "client/picture_file.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/sample_responses.h"

namespace dime {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class PictureFileTest : public ::testing::Test {
 protected:
  ~PictureFileTest() override { std::remove(path_.c_str()); }
  absl::StatusOr<PictureFile> Read(const std::string& content) {
    std::ofstream(path_, std::ios::binary) << content;
    return ReadPicture(path_);
  }
  const std::string path_ = testing::TempDir() + "picture_file_test.bin";
};

std::string Jpeg() {
  // SOI, an APP0 of 4 bytes, a fill byte, a quantisation table, then the frame: 37 rows of 300.
  return std::string(
      "\xff\xd8\xff\xe0\x00\x04XY\xff\xff\xdb\x00\x05XYZ"
      "\xff\xc2\x00\x0b\x08\x00\x25\x01\x2c\x01\x01\x11\x00",
      29);
}

TEST_F(PictureFileTest, PngAndJpegAreKnownByTheirContent) {
  const auto png = Read(SamplePng(300, 37));
  ASSERT_TRUE(png.ok()) << png.status();
  EXPECT_EQ(png->media_type, "image/png");
  EXPECT_EQ(png->width, 300);
  EXPECT_EQ(png->height, 37);
  EXPECT_EQ(png->bytes, SamplePng(300, 37));
  const auto jpeg = Read(Jpeg());
  ASSERT_TRUE(jpeg.ok()) << jpeg.status();
  EXPECT_EQ(jpeg->media_type, "image/jpeg");
  EXPECT_EQ(jpeg->width, 300);
  EXPECT_EQ(jpeg->height, 37);
}

TEST_F(PictureFileTest, DamagedAndOtherFilesAreNamed) {
  for (const std::string& whole : {SamplePng(3, 4), Jpeg()}) {
    // Cut before the header's end.
    for (size_t size = 0; size < 24 && size + 4 < whole.size(); ++size) {
      const auto cut = Read(whole.substr(0, size));
      EXPECT_EQ(cut.status().code(), absl::StatusCode::kInvalidArgument) << size;
      EXPECT_THAT(std::string(cut.status().message()), HasSubstr(path_));
    }
  }
  EXPECT_FALSE(Read(SamplePng(0, 4)).ok());
  EXPECT_FALSE(Read(SamplePng(4, -1)).ok());
  EXPECT_THAT(std::string(Read("<svg/>").status().message()),
              HasSubstr("neither a PNG nor a JPEG"));
  EXPECT_EQ(ReadPicture("/no/such.png").status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(ReadPicture(testing::TempDir()).ok());
}

TEST(LocalPathTest, UrisOfThisMachine) {
  EXPECT_EQ(*LocalPath("file:///data/a%20b.png"), "/data/a b.png");
  EXPECT_EQ(*LocalPath("file://localhost/x.png"), "/x.png");
  EXPECT_EQ(*LocalPath("file:/x.png"), "/x.png");
  EXPECT_EQ(*LocalPath("images/100%.png"), "images/100%.png");
  EXPECT_EQ(*LocalPath("/data/odd:name.png"), "/data/odd:name.png");
}

TEST(LocalPathTest, OthersAreRefused) {
  for (const char* uri :
       {"https://example.org/x.png", "s3:bucket/x", "file://other/x.png", "", "file:", "/a%00b"}) {
    EXPECT_EQ(LocalPath(uri).status().code(), absl::StatusCode::kInvalidArgument) << uri;
  }
}

}  // namespace
}  // namespace dime
