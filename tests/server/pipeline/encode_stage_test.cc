#include "server/pipeline/encode_stage.h"

#include <algorithm>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_gallery.h"
#include "tests/fakes/fake_model.h"

namespace dime {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

class EncodeStageTest : public ::testing::Test {
 protected:
  const FakeModel model_;
  const FakeGallery gallery_{{.num_images = 4}};
  const EncodeStage stage_{&model_.caption_encoder(), &model_.image_encoder()};
};

TEST_F(EncodeStageTest, ATextIsEncodedToSearchImages) {
  const auto encoded = stage_.Run(gallery_, TextQuery{"a blue ring"});
  ASSERT_TRUE(encoded.ok()) << encoded.status();
  EXPECT_EQ(encoded->target(), Modality::kImage);
  EXPECT_FALSE(encoded->text_truncated());
  const EncodedItems expected = *model_.caption_encoder().EncodeCaptions({"a blue ring"});
  EXPECT_THAT(encoded->view().coarse, ElementsAreArray(expected.coarse));
  EXPECT_EQ(encoded->view().lengths[0], 5);
}

TEST_F(EncodeStageTest, TellsOfACutText) {
  const auto encoded = stage_.Run(gallery_, TextQuery{"one two three four five six seven"});
  ASSERT_TRUE(encoded.ok()) << encoded.status();
  EXPECT_TRUE(encoded->text_truncated());
}

TEST_F(EncodeStageTest, RegionFeaturesAndTheStoredImageAreOneQuery) {
  const auto fresh = stage_.Run(gallery_, RegionFeaturesQuery{.num_regions = kFakeNumRegions,
                                                              .values = FakeRegionFeatures(2)});
  const auto stored = stage_.Run(gallery_, GalleryImageQuery{.row = 2});
  ASSERT_TRUE(fresh.ok()) << fresh.status();
  ASSERT_TRUE(stored.ok()) << stored.status();
  EXPECT_EQ(fresh->target(), Modality::kCaption);
  EXPECT_EQ(stored->target(), Modality::kCaption);
  EXPECT_THAT(stored->view().coarse, ElementsAreArray(fresh->view().coarse));
  for (Direction direction : kDirections) {
    EXPECT_THAT(stored->view().of(direction).local,
                ElementsAreArray(fresh->view().of(direction).local));
    EXPECT_THAT(stored->view().of(direction).global,
                ElementsAreArray(fresh->view().of(direction).global));
  }
}

TEST_F(EncodeStageTest, AnEncodedQueryMayBeMoved) {
  auto encoded = stage_.Run(gallery_, TextQuery{"a blue ring"});
  ASSERT_TRUE(encoded.ok());
  const std::vector<float> coarse(encoded->view().coarse.begin(), encoded->view().coarse.end());
  const EncodedQuery moved = *std::move(encoded);
  EXPECT_THAT(moved.view().coarse, ElementsAreArray(coarse));
}

TEST_F(EncodeStageTest, FeaturesThatOverflowAreTheCallersFault) {
  std::vector<float> features(kFakeNumRegions * kFakeFeatureDim, 3e38f);
  const auto encoded =
      stage_.Run(gallery_, RegionFeaturesQuery{.num_regions = kFakeNumRegions, .values = features});
  EXPECT_EQ(encoded.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(encoded.status().message(), HasSubstr("so large"));
}

}  // namespace
}  // namespace dime
