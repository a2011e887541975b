#include "server/pipeline/loaded_gallery.h"

#include <memory>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_gallery.h"
#include "tests/fakes/fake_model.h"
#include "tests/fakes/fake_mutable_gallery.h"

namespace dime {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class LoadedGalleryTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<LoadedGallery>> Create() {
    return LoadedGallery::Create(std::move(gallery_), model_.info(), model_.pair_scorer());
  }

  FakeModel model_;
  std::unique_ptr<FakeGallery> gallery_ =
      std::make_unique<FakeGallery>(FakeGallery::Contents{3, FakeCaptions(6)});
};

TEST_F(LoadedGalleryTest, MakesABankOfEachKind) {
  const auto loaded = Create();
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const auto view = (*loaded)->gallery().Pin();
  const auto images = (*loaded)->Acquire(*view, Modality::kImage, {2, 0, 2});
  const auto captions = (*loaded)->Acquire(*view, Modality::kCaption, {5});
  ASSERT_TRUE(images.ok() && captions.ok());
  EXPECT_EQ(images->bank->count(), 3);
  EXPECT_EQ(images->bank->modality(), Modality::kImage);
  EXPECT_THAT(images->rows, ElementsAre(2, 0, 2));
  EXPECT_EQ(captions->bank->count(), 6);
}

TEST_F(LoadedGalleryTest, RowsOfAGalleryThatIsReadAreLeased) {
  const std::vector<ImageRecord> records = {{.id = "a"}, {.id = "b"}, {.id = "c"}};
  std::vector<float> features;
  for (int i = 0; i < 3; ++i) {
    for (float value : FakeRegionFeatures(i)) features.push_back(value);
  }
  const EncodedItems items = *model_.image_encoder().EncodeImages(3, kFakeNumRegions, features);
  const EncodedItems query = *model_.caption_encoder().EncodeCaptions({"two big stars"});
  // Room for all, and for one slot, beside which a search reads for itself.
  for (const int64_t bank_bytes : {int64_t{1} << 20, int64_t{1}}) {
    auto gallery = std::make_unique<FakeMutableGallery>();
    ASSERT_TRUE(gallery->UpsertImages(records, items.view(), {}).ok());
    const auto loaded =
        LoadedGallery::Create(std::move(gallery), model_.info(), model_.pair_scorer(), bank_bytes);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_NE((*loaded)->mutable_gallery(), nullptr);
    const auto view = (*loaded)->gallery().Pin();
    const std::vector<int64_t> rows = view->ListRows(Modality::kImage);
    for (int round = 0; round < 2; ++round) {
      const auto lease = (*loaded)->Acquire(*view, Modality::kImage, rows);
      ASSERT_TRUE(lease.ok()) << lease.status();
      const ScoringRequest request{
          .query = query.view(), .bank = lease->bank, .rows = lease->rows, .mode = ScoreMode::kI2t};
      const auto scores = model_.pair_scorer().Score(absl::MakeConstSpan(&request, 1));
      ASSERT_TRUE(scores.ok()) << scores.status();
      for (int64_t i = 0; i < 3; ++i) {
        EXPECT_EQ((*scores)[0].scores[0][i],
                  FakeScore(items.view(), i, query.view(), 0, Direction::kI2t));
      }
    }
    EXPECT_EQ((*loaded)->bank_counts(Modality::kImage).hits, bank_bytes > 1 ? 3 : 0);
    // Apart from it, they are read whatever it holds, and leave no trace there.
    const BoundedBank::Counts before = (*loaded)->bank_counts(Modality::kImage);
    const auto apart = (*loaded)->AcquireApart(*view, Modality::kImage, rows);
    ASSERT_TRUE(apart.ok()) << apart.status();
    EXPECT_THAT(apart->rows, ElementsAre(0, 1, 2));
    EXPECT_EQ(apart->bank->count(), 3);
    const BoundedBank::Counts after = (*loaded)->bank_counts(Modality::kImage);
    EXPECT_EQ(after.hits, before.hits);
    EXPECT_EQ(after.misses, before.misses);
  }
}

TEST_F(LoadedGalleryTest, AnEmptyKindHasNoBank) {
  gallery_ = std::make_unique<FakeGallery>(FakeGallery::Contents{.num_images = 3});
  const auto loaded = Create();
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const auto view = (*loaded)->gallery().Pin();
  EXPECT_EQ((*loaded)->Acquire(*view, Modality::kImage, {1})->bank->count(), 3);
  EXPECT_EQ(view->size(Modality::kCaption), 0);
}

TEST_F(LoadedGalleryTest, RefusesAnotherModelsGallery) {
  gallery_->mutable_info().model_fingerprint = "other";
  const auto loaded = Create();
  EXPECT_EQ(loaded.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(loaded.status().message(), AllOf(HasSubstr("fake-gallery"), HasSubstr("other"),
                                               HasSubstr("dime_build_gallery")));
}

TEST_F(LoadedGalleryTest, RefusesFeaturesOfOtherSizes) {
  model_.mutable_info().directions[1].embed_size = 5;
  const auto loaded = Create();
  EXPECT_EQ(loaded.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(loaded.status().message(),
              AllOf(HasSubstr("t2i embedding size"), HasSubstr("is 6"), HasSubstr("is 5")));
}

TEST_F(LoadedGalleryTest, RefusesAnotherRegionCount) {
  model_.mutable_info().num_regions = 36;
  EXPECT_THAT(Create().status().message(), HasSubstr("the region count of its images is 3"));
}

}  // namespace
}  // namespace dime
