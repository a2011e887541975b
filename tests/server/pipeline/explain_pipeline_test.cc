#include "server/pipeline/explain_pipeline.h"

#include <numeric>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_gallery.h"
#include "tests/fakes/fake_model.h"

namespace dime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ExplainPipelineTest : public ::testing::Test {
 protected:
  absl::StatusOr<ExplainedPair> Run(const PairQuery& query, ScoreMode mode = ScoreMode::kEnsemble,
                                    const CallContext& context = CallContext()) const {
    return ExplainPipeline(&model_.caption_encoder(), &model_.image_encoder(),
                           &model_.pair_explainer())
        .Run(gallery_, query, mode, context);
  }

  FakeModel model_;
  FakeGallery gallery_{{.num_images = 4, .captions = {"red star", "two big blue rings"}}};
};

TEST_F(ExplainPipelineTest, ExplainsTheScoreOfThePair) {
  const auto pair = Run({.caption = TextQuery{"two big star"}, .image = GalleryImageQuery{2}});
  ASSERT_TRUE(pair.ok()) << pair.status();
  EXPECT_THAT(pair->words, ElementsAre("[CLS]", "two", "big", "star", "[SEP]"));
  EXPECT_FALSE(pair->text_truncated);
  const EncodedItems caption = *model_.caption_encoder().EncodeCaptions({"two big star"});
  const EncodedItemsView images = gallery_.features(Modality::kImage);
  for (Direction direction : kDirections) {
    const auto& part = pair->explanation.directions[static_cast<int>(direction)];
    ASSERT_TRUE(part.has_value());
    EXPECT_EQ(part->score, FakeScore(images, 2, caption.view(), 0, direction));
    EXPECT_EQ(part->layers[1].attention.size(), 5u * kFakeNumRegions);
  }
  const EncodedItemsView image = images.Slice(2, 1);
  EXPECT_FLOAT_EQ(pair->coarse_score, std::inner_product(image.coarse.begin(), image.coarse.end(),
                                                         caption.coarse.begin(), 0.0f));
}

TEST_F(ExplainPipelineTest, StoredItemsAreExplainedAsFreshOnesAre) {
  const auto fresh = Run({.caption = TextQuery{"two big blue rings"},
                          .image = RegionFeaturesQuery{.num_regions = kFakeNumRegions,
                                                       .values = FakeRegionFeatures(3)}});
  const auto stored = Run({.caption = GalleryCaptionQuery{1}, .image = GalleryImageQuery{3}});
  ASSERT_TRUE(fresh.ok()) << fresh.status();
  ASSERT_TRUE(stored.ok()) << stored.status();
  EXPECT_EQ(stored->words, fresh->words);
  EXPECT_EQ(stored->coarse_score, fresh->coarse_score);
  for (int d = 0; d < kNumDirections; ++d) {
    EXPECT_EQ(stored->explanation.directions[d]->score, fresh->explanation.directions[d]->score);
  }
}

TEST_F(ExplainPipelineTest, TellsOfACutTextAndExplainsTheModeAlone) {
  const auto pair = Run(
      {.caption = TextQuery{"one two three four five six seven"}, .image = GalleryImageQuery{0}},
      ScoreMode::kT2i);
  ASSERT_TRUE(pair.ok()) << pair.status();
  EXPECT_TRUE(pair->text_truncated);
  EXPECT_FALSE(pair->explanation.directions[0].has_value());
  EXPECT_TRUE(pair->explanation.directions[1].has_value());
}

TEST_F(ExplainPipelineTest, StopsWhenNobodyWaits) {
  const PairQuery query = {.caption = TextQuery{"red"}, .image = GalleryImageQuery{0}};
  EXPECT_EQ(
      Run(query, ScoreMode::kEnsemble, CallContext(absl::Now() - absl::Seconds(1))).status().code(),
      absl::StatusCode::kDeadlineExceeded);
  CallContext cancelled;
  cancelled.Cancel();
  EXPECT_EQ(Run(query, ScoreMode::kEnsemble, cancelled).status().code(),
            absl::StatusCode::kCancelled);
}

TEST_F(ExplainPipelineTest, FeaturesThatOverflowAreTheCallersFault) {
  const auto pair =
      Run({.caption = TextQuery{"red"},
           .image = RegionFeaturesQuery{
               .num_regions = kFakeNumRegions,
               .values = std::vector<float>(kFakeNumRegions * kFakeFeatureDim, 3e38f)}});
  EXPECT_EQ(pair.status().code(), absl::StatusCode::kInvalidArgument);
}

// A gallery whose stored caption does not have its text's words would be explained wrongly.
TEST_F(ExplainPipelineTest, FeaturesThatAreNotOfTheTextAreAFault) {
  gallery_.mutable_features(Modality::kCaption).lengths[0] = 3;
  const auto pair = Run({.caption = GalleryCaptionQuery{0}, .image = GalleryImageQuery{0}});
  EXPECT_EQ(pair.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(pair.status().message()), HasSubstr("3 words, its text has 4"));
}

}  // namespace
}  // namespace dime
