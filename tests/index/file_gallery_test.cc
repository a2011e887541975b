#include "index/file_gallery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/str_replace.h"
#include "index/item_filter.h"
#include "tests/index/fake_searcher.h"
#include "tests/index/file_fixtures.h"
#include "tests/index/gallery_fixtures.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int64_t kImages = 6;
constexpr int64_t kCaptions = 7;

class FileGalleryTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_THAT(BuildTestGallery(directory_, kImages, kCaptions, {}), IsOk());
  }
  absl::StatusOr<std::unique_ptr<FileGallery>> Open(FileGallery::Options options = {}) {
    return FileGallery::Open(directory_, options);
  }
  std::string Path(const std::string& name) const { return directory_ + "/" + name; }

  const std::string directory_ = FreshDirectory() + "/sample";
};

TEST_F(FileGalleryTest, IsSearchedElsewhereWhereThatIsAskedFor) {
  const FakeSearcherFactory searchers;
  ASSERT_OK_AND_ASSIGN(const auto here, Open());
  ASSERT_OK_AND_ASSIGN(const auto there, Open({.searchers = &searchers}));
  EXPECT_EQ(searchers.made, 2);
  EXPECT_EQ(there->info().caption_index, "exact on fake:3");
  const std::vector<float> query = UnitVectors(1, 8, 4711);
  for (const Modality modality : {Modality::kImage, Modality::kCaption}) {
    ASSERT_OK_AND_ASSIGN(const auto expected, here->Recall(modality, query, 4, {}));
    ASSERT_OK_AND_ASSIGN(const auto found, there->Recall(modality, query, 4, {}));
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i].row, expected[i].row);
  }
  EXPECT_EQ(searchers.searches, 2);
}

TEST_F(FileGalleryTest, GivesBackWhatWasAdded) {
  ASSERT_OK_AND_ASSIGN(const auto gallery, Open());
  EXPECT_EQ(gallery->info().name, "sample");
  EXPECT_EQ(gallery->info().model_fingerprint, kTestFingerprint);
  EXPECT_EQ(gallery->info().image_index, "Flat");
  EXPECT_EQ(gallery->info().num_regions, 2);
  EXPECT_EQ(gallery->info().max_words, 3);
  ASSERT_EQ(gallery->size(Modality::kImage), kImages);
  ASSERT_EQ(gallery->size(Modality::kCaption), kCaptions);
  const std::vector<ImageRecord> images = MakeImages(kImages);
  for (int64_t row = 0; row < kImages; ++row) {
    const ImageRecord& expected = images[static_cast<size_t>(row)];
    EXPECT_EQ(gallery->image(row).id, expected.id);
    EXPECT_EQ(gallery->image(row).width, expected.width);
    EXPECT_EQ(gallery->image(row).height, expected.height);
    EXPECT_EQ(gallery->image(row).uri, expected.uri);
    EXPECT_EQ(gallery->image(row).boxes, expected.boxes);
    EXPECT_EQ(*gallery->FindRow(Modality::kImage, expected.id), row);
  }
  const std::vector<CaptionRecord> captions = MakeCaptions(kCaptions);
  for (int64_t row = 0; row < kCaptions; ++row) {
    const CaptionRecord& expected = captions[static_cast<size_t>(row)];
    EXPECT_EQ(gallery->caption(row).id, expected.id);
    EXPECT_EQ(gallery->caption(row).text, expected.text);
    EXPECT_EQ(gallery->caption(row).image_id, expected.image_id);
    EXPECT_EQ(*gallery->FindRow(Modality::kCaption, expected.id), row);
  }
  for (const Modality modality : {Modality::kImage, Modality::kCaption}) {
    const EncodedItems expected = modality == Modality::kImage
                                      ? MakeItems(modality, kImages, 100)
                                      : MakeItems(modality, kCaptions, 200);
    const EncodedItemsView features = gallery->features(modality);
    EXPECT_EQ(features.modality, modality);
    EXPECT_EQ(features.count, expected.count);
    EXPECT_EQ(features.positions, expected.positions);
    EXPECT_THAT(features.lengths, ElementsAreArray(expected.lengths));
    EXPECT_THAT(features.coarse, ElementsAreArray(expected.coarse));
    for (const Direction direction : kDirections) {
      const DirectionFeatures& of = expected.directions[static_cast<size_t>(direction)];
      EXPECT_EQ(features.of(direction).embed_size, of.embed_size);
      EXPECT_THAT(features.of(direction).local, ElementsAreArray(of.local));
      EXPECT_THAT(features.of(direction).global, ElementsAreArray(of.global));
    }
  }
}

TEST_F(FileGalleryTest, RecallGivesExactScoresWhateverTheIndexKeeps) {
  ASSERT_THAT(
      BuildTestGallery(directory_, 200, 0, {.index = {.factory = "Flat"}, .overwrite = true}),
      IsOk());
  ASSERT_OK_AND_ASSIGN(const auto flat, FileGallery::Open(directory_, {}));
  for (const char* factory : {"SQ4", "SQ8", "IVF4,SQfp16", "PCA6,Flat"}) {
    ASSERT_THAT(
        BuildTestGallery(directory_, 200, 0, {.index = {.factory = factory}, .overwrite = true}),
        IsOk());
    ASSERT_OK_AND_ASSIGN(const auto gallery, FileGallery::Open(directory_, {}));
    EXPECT_EQ(gallery->info().image_index, factory);
    const absl::Span<const float> query = gallery->features(Modality::kImage).Slice(7, 1).coarse;
    // All of them, so that the order is that of the exact index.
    ASSERT_OK_AND_ASSIGN(const auto expected, flat->Recall(Modality::kImage, query, 1000, {}));
    ASSERT_OK_AND_ASSIGN(const auto found, gallery->Recall(Modality::kImage, query, 1000, {}));
    ASSERT_EQ(found.size(), 200u) << factory;
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_NEAR(found[i].score, expected[i].score, 1e-6) << factory;
    }
    ASSERT_OK_AND_ASSIGN(const auto best, gallery->Recall(Modality::kImage, query, 1, {}));
    ASSERT_EQ(best.size(), 1u);
    EXPECT_EQ(best[0].row, 7);
    EXPECT_NEAR(best[0].score, 1, 1e-5);
  }
}

TEST_F(FileGalleryTest, RecallsAndFinds) {
  ASSERT_OK_AND_ASSIGN(const auto gallery, Open());
  const EncodedItemsView images = gallery->features(Modality::kImage);
  for (int64_t row = 0; row < kImages; ++row) {
    ASSERT_OK_AND_ASSIGN(const auto candidates,
                         gallery->Recall(Modality::kImage, images.Slice(row, 1).coarse, 3, {}));
    ASSERT_EQ(candidates.size(), 3u);
    EXPECT_EQ(candidates[0].row, row);  // nothing is nearer to a unit vector than itself
  }
  EXPECT_THAT(gallery->Recall(Modality::kImage, {1, 0}, 3, {}), StatusIs(kInvalid, HasSubstr("8")));
  EXPECT_THAT(gallery->FindRow(Modality::kImage, "image-0#0"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("\"image-0#0\"")));
}

TEST_F(FileGalleryTest, AFilterIsEvaluatedBeforeRecall) {
  ASSERT_OK_AND_ASSIGN(const auto gallery, Open());
  const EncodedItemsView images = gallery->features(Modality::kImage);
  const absl::Span<const float> query = images.Slice(1, 1).coarse;
  const ItemFilter filter = ItemFilter::Parse("uri:*").value();  // the even ones
  ASSERT_OK_AND_ASSIGN(const auto candidates,
                       gallery->Recall(Modality::kImage, query, 5, {.filter = &filter}));
  ASSERT_EQ(candidates.size(), 3u);
  for (const Candidate& candidate : candidates) EXPECT_EQ(candidate.row % 2, 0);
  ASSERT_OK_AND_ASSIGN(const auto one,
                       gallery->Recall(Modality::kImage, query, 1, {.filter = &filter}));
  ASSERT_EQ(one.size(), 1u);
  EXPECT_EQ(one[0].row, candidates[0].row);
  ASSERT_OK_AND_ASSIGN(const auto all,
                       gallery->Recall(Modality::kImage, query, 100, {.exact = true}));
  EXPECT_EQ(all.size(), static_cast<size_t>(kImages));
  EXPECT_EQ(all[0].row, 1);
}

TEST_F(FileGalleryTest, ListsIdsInOrder) {
  ASSERT_OK_AND_ASSIGN(const auto gallery, Open());
  EXPECT_THAT(*gallery->ListIds(Modality::kImage, "", 2), ElementsAre("image-0", "image-1"));
  EXPECT_THAT(*gallery->ListIds(Modality::kImage, "image-10", 2),
              ElementsAre("image-2", "image-3"));
  EXPECT_THAT(*gallery->ListIds(Modality::kImage, "image-5", 2), IsEmpty());
}

TEST_F(FileGalleryTest, AGalleryOfOneModalityAnswersForTheOther) {
  ASSERT_THAT(BuildTestGallery(directory_, 0, 5, {.overwrite = true}), IsOk());
  ASSERT_OK_AND_ASSIGN(const auto gallery, Open());
  EXPECT_EQ(gallery->size(Modality::kImage), 0);
  EXPECT_EQ(gallery->size(Modality::kCaption), 5);
  EXPECT_EQ(gallery->info().num_regions, 0);
  EXPECT_THAT(*gallery->Recall(Modality::kImage, std::vector<float>(8), 3, {}), IsEmpty());
  EXPECT_THAT(gallery->FindRow(Modality::kImage, "x"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("x")));
}

TEST_F(FileGalleryTest, RefusesTheGalleryOfAnotherModel) {
  EXPECT_THAT(Open({.expected_model_fingerprint = kTestFingerprint}), IsOk());
  EXPECT_THAT(Open({.expected_model_fingerprint = "fedcba9876543210"}),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr(directory_), HasSubstr("made with model 0123456789ab but"),
                             HasSubstr("runs fedcba987654;"), HasSubstr("dime_build_gallery"))));
}

TEST_F(FileGalleryTest, SaysThatThereIsNone) {
  EXPECT_THAT(FileGallery::Open(directory_ + "/absent", {}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("there is no gallery at")));
  std::filesystem::remove(Path("gallery.json"));
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kNotFound, HasSubstr("gallery.json")));
}

TEST_F(FileGalleryTest, RebuildsAMissingOrDamagedIndexOnce) {
  ASSERT_OK_AND_ASSIGN(const auto whole, Open());
  const std::string contents = Contents(*whole);
  const std::string index = ReadFile(Path("images.faiss"));
  std::string damaged = index;
  damaged[damaged.size() / 2] ^= 1;
  for (const char* harm : {"missing", "damaged", "of another gallery"}) {
    if (harm == std::string("missing")) {
      std::filesystem::remove(Path("images.faiss"));
    } else {
      WriteFile(Path("images.faiss"),
                harm == std::string("damaged") ? damaged : ReadFile(Path("captions.faiss")));
    }
    testing::internal::CaptureStderr();
    const auto rebuilt = Open();
    EXPECT_THAT(testing::internal::GetCapturedStderr(),
                AllOf(HasSubstr("warning"), HasSubstr("images.faiss"), HasSubstr("rebuilding")));
    ASSERT_THAT(rebuilt, IsOk()) << harm;
    EXPECT_EQ(Contents(**rebuilt), contents) << harm;
    EXPECT_TRUE(ReadFile(Path("images.faiss")) == index) << harm;
    testing::internal::CaptureStderr();
    EXPECT_THAT(Open(), IsOk());
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "") << harm;
  }
}

TEST_F(FileGalleryTest, ServesWithoutAPlaceToSaveTheRebuiltIndex) {
  std::filesystem::remove(Path("images.faiss"));
  std::filesystem::create_directory(Path("images.faiss.part"));  // in the way of saving
  testing::internal::CaptureStderr();
  const auto gallery = Open();
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("was not saved"));
  ASSERT_THAT(gallery, IsOk());
  EXPECT_EQ((*gallery->get()->Recall(Modality::kImage, std::vector<float>(8, 0.1f), 3, {})).size(),
            3u);
}

TEST_F(FileGalleryTest, DamageGivesAnErrorThatNamesTheFileOrTheSameAnswers) {
  ASSERT_OK_AND_ASSIGN(const auto whole, Open());
  const std::string contents = Contents(*whole);
  for (const char* name : {"gallery.json", "images.safetensors", "images.jsonl",
                           "captions.safetensors", "captions.jsonl"}) {
    const std::string good = ReadFile(Path(name));
    testing::internal::CaptureStderr();  // altered checksums of an index in the manifest warn
    ForEachDamage(good, 100, [&](const std::string& damaged, const std::string& what) {
      WriteFile(Path(name), damaged);
      const auto gallery = Open();
      if (gallery.ok()) {
        EXPECT_EQ(name, std::string("gallery.json")) << what;
        EXPECT_EQ(Contents(**gallery), contents) << what;
      } else {
        EXPECT_THAT(gallery, StatusIs(kInvalid, HasSubstr(name))) << what;
      }
    });
    testing::internal::GetCapturedStderr();
    std::filesystem::remove(Path(name));
    EXPECT_FALSE(Open().ok()) << name;
    WriteFile(Path(name), good);
  }
  EXPECT_EQ(Contents(**Open()), contents);
}

TEST_F(FileGalleryTest, DamageWithoutChecksumsStillNeverCrashes) {
  for (const char* name : {"images.safetensors", "captions.jsonl"}) {
    const std::string good = ReadFile(Path(name));
    ForEachDamage(good, 100, [&](const std::string& damaged, const std::string& what) {
      WriteFile(Path(name), damaged);
      const auto gallery = Open({.verify_checksums = false});
      if (gallery.ok()) {
        EXPECT_EQ(damaged.size(), good.size()) << what;
        EXPECT_FALSE(Contents(**gallery).empty());
      } else {
        EXPECT_THAT(gallery, StatusIs(kInvalid, HasSubstr(directory_))) << what;
      }
    });
    WriteFile(Path(name), good);
  }
}

TEST_F(FileGalleryTest, RefusesFilesSwappedBetweenGalleries) {
  const std::string other = directory_ + "-other";
  ASSERT_THAT(BuildTestGallery(other, kImages, kCaptions + 1, {}), IsOk());
  std::filesystem::copy_file(other + "/captions.jsonl", Path("captions.jsonl"),
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_THAT(Open(), StatusIs(kInvalid, HasSubstr("captions.jsonl")));
}

TEST_F(FileGalleryTest, RefusesAnUnknownFormatVersion) {
  const std::string manifest = ReadFile(Path("gallery.json"));
  WriteFile(Path("gallery.json"),
            absl::StrReplaceAll(manifest, {{"\"format_version\": 1", "\"format_version\": 2"}}));
  EXPECT_THAT(Open(),
              StatusIs(kInvalid, AllOf(HasSubstr("gallery.json"), HasSubstr("format version 2"))));
}

}  // namespace
}  // namespace dime
