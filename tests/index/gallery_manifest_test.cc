#include "index/gallery_manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/index/file_fixtures.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;

GalleryManifest MakeManifest() {
  GalleryManifest manifest{.model_fingerprint = "abc"};
  manifest.sides[0] = {.count = 3, .index = "Flat"};
  manifest.files["images.safetensors"] = {.bytes = 100, .crc32 = 0xdeadbeef};
  manifest.files["images.faiss"] = {.bytes = 7, .crc32 = 1};
  return manifest;
}

TEST(GalleryManifestTest, ComesBackAsItWasWritten) {
  const std::string directory = FreshDirectory();
  const GalleryManifest written = MakeManifest();
  ASSERT_THAT(written.Write(directory), IsOk());
  ASSERT_OK_AND_ASSIGN(const GalleryManifest read, GalleryManifest::Read(directory));
  EXPECT_EQ(read.model_fingerprint, "abc");
  EXPECT_EQ(read.sides[0].count, 3);
  EXPECT_EQ(read.sides[0].index, "Flat");
  EXPECT_EQ(read.sides[1].count, 0);
  EXPECT_EQ(read.files.at("images.safetensors").bytes, 100u);
  EXPECT_EQ(read.files.at("images.safetensors").crc32, 0xdeadbeefu);
  EXPECT_EQ(read.Version(), written.Version());
}

TEST(GalleryManifestTest, TheVersionNamesTheContentButNotWhatIsDerived) {
  const std::string version = MakeManifest().Version();
  EXPECT_EQ(version.size(), 16u);
  GalleryManifest manifest = MakeManifest();
  manifest.files["images.faiss"].crc32 = 2;
  EXPECT_EQ(manifest.Version(), version);
  manifest.files["images.safetensors"].crc32 ^= 1;
  EXPECT_NE(manifest.Version(), version);
  manifest = MakeManifest();
  manifest.model_fingerprint = "abd";
  EXPECT_NE(manifest.Version(), version);
}

TEST(GalleryManifestTest, NoDamageGoesUnnoticed) {
  const std::string directory = FreshDirectory();
  const std::string path = directory + "/" + kGalleryManifestName;
  EXPECT_THAT(GalleryManifest::Read(directory),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr(path)));
  ASSERT_THAT(MakeManifest().Write(directory), IsOk());
  const std::string whole = ReadFile(path);
  ForEachDamage(whole, whole.size(), [&](const std::string& damaged, const std::string& what) {
    WriteFile(path, damaged);
    const auto read = GalleryManifest::Read(directory);
    // Either it is told, or (white space, another's checksum of what is derived) nothing is lost.
    if (read.ok()) {
      EXPECT_EQ(read->Version(), MakeManifest().Version()) << what;
    } else {
      EXPECT_THAT(read, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(path))) << what;
    }
  });
}

TEST(GalleryManifestTest, AlteredOrOfAnotherFormatIsToldSo) {
  const std::string directory = FreshDirectory();
  const std::string path = directory + "/" + kGalleryManifestName;
  ASSERT_THAT(MakeManifest().Write(directory), IsOk());
  const std::string whole = ReadFile(path);
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = whole;
    text.replace(text.find(from), from.size(), to);
    WriteFile(path, text);
    return GalleryManifest::Read(directory);
  };
  EXPECT_THAT(with("\"count\": 3", "\"count\": 4"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("altered")));
  EXPECT_THAT(with("\"format_version\": ", "\"format_version\": 9"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("format version 9"), HasSubstr("Rebuild"))));
  EXPECT_THAT(with("\"model_fingerprint\"", "\"fingerprint\""),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("model_fingerprint")));
}

TEST(GalleryManifestTest, AChecksumTellsOneFileFromAnother) {
  const std::string path = FreshDirectory() + "/file";
  WriteFile(path, "123456789");
  ASSERT_OK_AND_ASSIGN(const GalleryManifest::File file, ChecksumFile(path));
  EXPECT_EQ(file.bytes, 9u);
  EXPECT_EQ(file.crc32, 0xcbf43926u);  // CRC-32's check value
}

TEST(GalleryManifestTest, FilesInTheMakingAreNamedToo) {
  EXPECT_THAT(GalleryFileNames(), AllOf(Contains("images.safetensors"), Contains("captions.faiss"),
                                        Contains("gallery.json.part")));
}

}  // namespace
}  // namespace dime
