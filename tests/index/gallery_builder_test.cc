#include "index/gallery_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <limits>

#include "absl/strings/str_cat.h"
#include "index/file_gallery.h"
#include "tests/index/file_fixtures.h"
#include "tests/index/gallery_fixtures.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class GalleryBuilderTest : public testing::Test {
 protected:
  std::unique_ptr<GalleryBuilder> Create(int64_t images, int64_t captions) {
    auto builder = GalleryBuilder::Create(
        directory_,
        {.model_fingerprint = kTestFingerprint, .num_images = images, .num_captions = captions});
    EXPECT_THAT(builder, IsOk());
    return *std::move(builder);
  }

  const std::string parent_ = FreshDirectory();
  const std::string directory_ = parent_ + "/gallery";
};

TEST_F(GalleryBuilderTest, TheDirectoryAppearsWhenItIsWhole) {
  auto builder = Create(2, 0);
  EXPECT_FALSE(Exists(directory_));
  EXPECT_TRUE(Exists(directory_ + ".part"));
  ASSERT_THAT(builder->AddImages(MakeImages(2), MakeItems(Modality::kImage, 2, 1).view()), IsOk());
  EXPECT_FALSE(Exists(directory_));
  ASSERT_THAT(builder->Finish(), IsOk());
  EXPECT_TRUE(Exists(directory_ + "/gallery.json"));
  EXPECT_FALSE(Exists(directory_ + "/captions.jsonl"));
  EXPECT_FALSE(Exists(directory_ + ".part"));
  EXPECT_THAT(builder->Finish(), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("")));
  builder.reset();
  EXPECT_TRUE(Exists(directory_ + "/gallery.json"));
}

TEST_F(GalleryBuilderTest, AnAbandonedBuildLeavesNothingAndACrashedOneIsSweptUp) {
  auto builder = Create(4, 0);
  ASSERT_THAT(builder->AddImages(MakeImages(2), MakeItems(Modality::kImage, 2, 1).view()), IsOk());
  EXPECT_THAT(builder->Finish(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("only 2 of 4")));
  builder.reset();
  EXPECT_TRUE(std::filesystem::is_empty(parent_));

  std::filesystem::create_directory(directory_ + ".part");
  WriteFile(directory_ + ".part/images.safetensors.part", "half of it");
  EXPECT_THAT(BuildTestGallery(directory_, 3, 0, {}), IsOk());

  std::filesystem::create_directory(parent_ + "/other.part");
  WriteFile(parent_ + "/other.part/precious", "not ours");
  EXPECT_THAT(BuildTestGallery(parent_ + "/other", 3, 0, {}),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("precious")));
  EXPECT_TRUE(Exists(parent_ + "/other.part/precious"));
}

TEST_F(GalleryBuilderTest, ReplacesAGalleryOnRequestAndNothingElse) {
  ASSERT_THAT(BuildTestGallery(directory_, 3, 2, {}), IsOk());
  EXPECT_THAT(BuildTestGallery(directory_, 5, 2, {}),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr(directory_)));
  EXPECT_THAT(BuildTestGallery(directory_ + "/", 5, 0, {.overwrite = true}), IsOk());
  ASSERT_OK_AND_ASSIGN(const auto gallery, FileGallery::Open(directory_, {}));
  EXPECT_EQ(gallery->size(Modality::kImage), 5);
  EXPECT_FALSE(Exists(directory_ + ".part"));
  EXPECT_FALSE(Exists(directory_ + "/captions.jsonl"));

  // What dime_tune measured belongs to the gallery that is replaced.
  WriteFile(directory_ + "/search_settings.json", "{}");
  EXPECT_THAT(FileGallery::Open(directory_, {}), IsOk());
  EXPECT_THAT(BuildTestGallery(directory_, 5, 0, {.overwrite = true}), IsOk());
  EXPECT_FALSE(Exists(directory_ + "/search_settings.json"));

  WriteFile(directory_ + "/notes.txt", "not ours");
  EXPECT_THAT(BuildTestGallery(directory_, 3, 0, {.overwrite = true}),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("notes.txt")));
  EXPECT_TRUE(Exists(directory_ + "/notes.txt"));
  WriteFile(parent_ + "/file", "not ours");
  EXPECT_THAT(BuildTestGallery(parent_ + "/file", 3, 0, {.overwrite = true}),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("no directory")));
  const std::string other = parent_ + "/other";
  std::filesystem::create_directory(other);
  EXPECT_THAT(BuildTestGallery(other, 3, 0, {.overwrite = true}), IsOk());  // it was empty
  std::filesystem::remove(other + "/gallery.json");
  EXPECT_THAT(BuildTestGallery(other, 3, 0, {.overwrite = true}),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("is no gallery")));
}

TEST_F(GalleryBuilderTest, AnOpenGallerySurvivesItsReplacement) {
  ASSERT_THAT(BuildTestGallery(directory_, 6, 0, {}), IsOk());
  ASSERT_OK_AND_ASSIGN(const auto gallery, FileGallery::Open(directory_, {}));
  const std::string before = Contents(*gallery);
  ASSERT_THAT(BuildTestGallery(directory_, 2, 0, {.overwrite = true}), IsOk());
  EXPECT_EQ(Contents(*gallery), before);
}

TEST_F(GalleryBuilderTest, MakesMissingParents) {
  EXPECT_THAT(BuildTestGallery(parent_ + "/a/b/gallery", 1, 0, {}), IsOk());
  EXPECT_THAT(FileGallery::Open(parent_ + "/a/b/gallery", {}), IsOk());
}

TEST_F(GalleryBuilderTest, VersionsNameTheContent) {
  ASSERT_THAT(BuildTestGallery(parent_ + "/a", 5, 3, {}), IsOk());
  ASSERT_THAT(BuildTestGallery(parent_ + "/b", 5, 3, {}), IsOk());
  ASSERT_THAT(BuildTestGallery(parent_ + "/c", 5, 4, {}), IsOk());
  ASSERT_THAT(BuildTestGallery(parent_ + "/d", 5, 3, {.index = {.factory = "HNSW16"}}), IsOk());
  const auto version = [&](const std::string& name) {
    return (*FileGallery::Open(parent_ + name, {}))->info().version;
  };
  EXPECT_EQ(version("/a").size(), 16u);
  EXPECT_EQ(version("/a"), version("/b"));
  EXPECT_NE(version("/a"), version("/c"));
  EXPECT_NE(version("/a"), version("/d"));
}

TEST_F(GalleryBuilderTest, RefusesBadOptions) {
  const auto create = [&](GalleryBuilder::Options options, const std::string& directory) {
    return GalleryBuilder::Create(directory, options).status();
  };
  EXPECT_THAT(create({.num_images = 0, .num_captions = 0}, directory_),
              StatusIs(kInvalid, HasSubstr("0 images and 0 captions")));
  EXPECT_THAT(create({.num_images = -1, .num_captions = 3}, directory_),
              StatusIs(kInvalid, HasSubstr("-1 images")));
  EXPECT_THAT(create({.num_images = 1}, ""), StatusIs(kInvalid, HasSubstr("no name")));
  EXPECT_THAT(BuildTestGallery(directory_, 3, 0, {.index = {.factory = "Nonsense"}}),
              StatusIs(kInvalid, HasSubstr("Nonsense")));
  EXPECT_TRUE(std::filesystem::is_empty(parent_));
}

TEST_F(GalleryBuilderTest, RefusesBadItemsByNameAndGoesOnWithoutThem) {
  auto builder = Create(4, 2);
  const EncodedItems good = MakeItems(Modality::kImage, 2, 1);
  const std::vector<ImageRecord> records = MakeImages(2);

  const auto with_records = [&](const std::function<void(std::vector<ImageRecord>&)>& change) {
    std::vector<ImageRecord> changed = records;
    change(changed);
    return builder->AddImages(changed, good.view());
  };
  const auto with_items = [&](const std::function<void(EncodedItems&)>& change) {
    EncodedItems changed = good;
    change(changed);
    return builder->AddImages(records, changed.view());
  };
  EXPECT_THAT(with_records([](auto& r) { r[1].id = ""; }),
              StatusIs(kInvalid, HasSubstr("image 1 has no id")));
  EXPECT_THAT(with_records([](auto& r) { r[1].id = r[0].id; }),
              StatusIs(kInvalid, HasSubstr("\"image-0\" comes twice")));
  EXPECT_THAT(with_records([](auto& r) { r[0].id = "\xff"; }),
              StatusIs(kInvalid, HasSubstr("its id is no UTF-8")));
  EXPECT_THAT(with_records([](auto& r) { r[1].uri = "\xff"; }),
              StatusIs(kInvalid, HasSubstr("\"image-1\": its uri")));
  EXPECT_THAT(with_records([](auto& r) { r[1].width = -1; }),
              StatusIs(kInvalid, HasSubstr("\"image-1\": its size")));
  EXPECT_THAT(with_records([](auto& r) { r[1].boxes.clear(); }),
              StatusIs(kInvalid, HasSubstr("\"image-1\" has 0 boxes for 2 regions")));
  EXPECT_THAT(with_records([](auto& r) { r[0].boxes.resize(4); }),
              StatusIs(kInvalid, HasSubstr("\"image-0\" has 1 boxes for 2 regions")));
  EXPECT_THAT(
      with_records([](auto& r) { r[1].boxes[3] = std::numeric_limits<float>::quiet_NaN(); }),
      StatusIs(kInvalid, HasSubstr("\"image-1\": its boxes")));
  EXPECT_THAT(with_records([](auto& r) { r.pop_back(); }),
              StatusIs(kInvalid, HasSubstr("the records of 1 images")));
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_THAT(with_items([&](auto& e) { e.coarse[9] = infinity; }),
              StatusIs(kInvalid, HasSubstr("\"image-1\": its features hold")));
  EXPECT_THAT(with_items([&](auto& e) { e.directions[0].local[0] = -infinity; }),
              StatusIs(kInvalid, HasSubstr("\"image-0\": its features hold")));
  EXPECT_THAT(with_items([&](auto& e) { e.directions[1].global[9] = infinity; }),
              StatusIs(kInvalid, HasSubstr("\"image-1\": its features hold")));
  EXPECT_THAT(with_items([](auto& e) { e.lengths[1] = 3; }),
              StatusIs(kInvalid, HasSubstr("\"image-1\": its length 3")));
  EXPECT_THAT(with_items([](auto& e) { e.directions[0].local.pop_back(); }),
              StatusIs(kInvalid, HasSubstr("i2t arrays")));
  EXPECT_THAT(with_items([](auto& e) { e.coarse.pop_back(); }),
              StatusIs(kInvalid, HasSubstr("coarse")));
  EXPECT_THAT(with_items([](auto& e) { e.coarse_dim = 0; }),
              StatusIs(kInvalid, HasSubstr("coarse dimension of 0")));
  EXPECT_THAT(with_items([](auto& e) { e.modality = Modality::kCaption; }),
              StatusIs(kInvalid, HasSubstr("they are of 2 captions")));
  EXPECT_THAT(with_items([](auto& e) { e.directions = {}; }),
              StatusIs(kInvalid, HasSubstr("neither direction")));

  ASSERT_THAT(builder->AddImages(records, good.view()), IsOk());
  EXPECT_THAT(builder->AddImages(records, good.view()),
              StatusIs(kInvalid, HasSubstr("\"image-0\" comes twice")));
  std::vector<ImageRecord> others = {{.id = "x"}, {.id = "y"}};
  EXPECT_THAT(builder->AddImages(others, good.view()),
              StatusIs(kInvalid, HasSubstr("\"x\" lacks boxes")));
  EXPECT_THAT(builder->AddImages(MakeImages(3), MakeItems(Modality::kImage, 3, 1).view()),
              StatusIs(kInvalid, HasSubstr("more than the 4 images")));
  EncodedItems single = good;  // of another model, which lacks a direction
  single.directions[1] = {};
  for (ImageRecord& record : others) record.boxes = records[0].boxes;
  EXPECT_THAT(builder->AddImages(others, single.view()),
              StatusIs(kInvalid, HasSubstr("differs from that of the images")));
  EncodedItems caption_items = MakeItems(Modality::kCaption, 2, 3);
  EncodedItems single_captions = caption_items;
  single_captions.directions[1] = {};
  EXPECT_THAT(builder->AddCaptions(MakeCaptions(2), single_captions.view()),
              StatusIs(kInvalid, HasSubstr("differs from that of the images")));
  std::vector<CaptionRecord> captions = MakeCaptions(2);
  captions[1].text = "";
  EXPECT_THAT(builder->AddCaptions(captions, caption_items.view()),
              StatusIs(kInvalid, HasSubstr("\"image-0#1\" has no text")));
  captions[1].text = "\xff";
  EXPECT_THAT(builder->AddCaptions(captions, caption_items.view()),
              StatusIs(kInvalid, HasSubstr("\"image-0#1\": its text is no UTF-8")));

  // After all that, the build goes on as if nothing had happened.
  ASSERT_THAT(builder->AddImages(others, good.view()), IsOk());
  ASSERT_THAT(builder->AddCaptions(MakeCaptions(2), caption_items.view()), IsOk());
  ASSERT_THAT(builder->Finish(), IsOk());
  ASSERT_OK_AND_ASSIGN(const auto gallery, FileGallery::Open(directory_, {}));
  EXPECT_EQ(gallery->size(Modality::kImage), 4);
  EXPECT_EQ(gallery->image(3).id, "y");
}

}  // namespace
}  // namespace dime
