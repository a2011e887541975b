#include "benchmarks/synthetic_gallery.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmarks/idle_model.h"
#include "gtest/gtest.h"
#include "index/open_gallery.h"

namespace dime {
namespace {

TEST(SyntheticGalleryTest, BothKindsHoldWhatWasAskedForAndFitTheIdleModel) {
  const IdleModel model(/*coarse_dim=*/16);
  for (const bool living : {false, true}) {
    const std::string directory =
        absl::StrCat(::testing::TempDir(), "/dime_synthetic_gallery_test");
    std::filesystem::remove_all(directory);
    const SyntheticGallery contents{
        .images = 600, .captions = 20, .living = living, .payloads = true};
    ASSERT_TRUE(contents.Write(directory, model.info()).ok());
    const auto gallery = OpenGallery(directory, model.info().fingerprint);
    ASSERT_TRUE(gallery.ok()) << gallery.status();
    const std::shared_ptr<const GalleryView> view = (*gallery)->Pin();
    EXPECT_EQ(view->size(Modality::kImage), 600);
    EXPECT_EQ(view->size(Modality::kCaption), 20);
    EXPECT_TRUE(model.pair_scorer().MakeBank(view->shape(Modality::kImage)).ok());

    // More than a batch in, each with an embedding of its own.
    const auto row = view->FindRow(Modality::kImage, "image-599");
    ASSERT_TRUE(row.ok()) << row.status();
    const auto record = view->ReadImage(*row);
    ASSERT_TRUE(record.ok()) << record.status();
    EXPECT_EQ(record->payload["collection"], "collection-4");
    const auto features = view->ReadFeatures(Modality::kImage, std::vector<int64_t>{*row});
    ASSERT_TRUE(features.ok()) << features.status();
    const auto nearest = view->Recall(Modality::kImage, features->coarse, 2, RecallOptions());
    ASSERT_TRUE(nearest.ok()) << nearest.status();
    EXPECT_EQ((*nearest)[0].row, *row);
    EXPECT_NEAR((*nearest)[0].score, 1, 1e-5);
    EXPECT_LT((*nearest)[1].score, 0.999);
  }
}

TEST(IdleModelTest, AnswersForAsManyAsItIsAsked) {
  const IdleModel model(/*coarse_dim=*/16);
  const auto captions = model.caption_encoder().EncodeCaptions(std::vector<std::string>(3, "a"));
  ASSERT_TRUE(captions.ok()) << captions.status();
  EXPECT_EQ(captions->count, 3);
  EXPECT_EQ(captions->coarse.size(), 3u * 16);
  const auto bank = model.pair_scorer().MakeSlabBank(captions->view(), 10);
  ASSERT_TRUE(bank.ok()) << bank.status();
  const std::vector<int64_t> rows = {1, 2, 3, 4};
  const ScoringRequest request{
      .bank = bank->get(), .rows = rows, .mode = ScoreMode::kI2t, .want_paths = true};
  const auto scores = model.pair_scorer().Score({&request, 1});
  ASSERT_TRUE(scores.ok()) << scores.status();
  EXPECT_EQ((*scores)[0].scores[0].size(), 4u);
  EXPECT_EQ((*scores)[0].paths[0].size(), 4u * kNumPathWeights);
  EXPECT_TRUE((*scores)[0].scores[1].empty());
}

}  // namespace
}  // namespace dime
