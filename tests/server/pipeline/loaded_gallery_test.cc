#include "server/pipeline/loaded_gallery.h"

#include <memory>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_gallery.h"
#include "tests/fakes/fake_model.h"

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
