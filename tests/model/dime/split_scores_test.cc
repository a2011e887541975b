#include "model/dime/split_scores.h"

#include <memory>
#include <optional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/retrieval_metrics.h"
#include "model/two_stage_report.h"
#include "tests/model/dime/golden_tiny.h"

namespace dime {
namespace {

using ::testing::ElementsAre;

class SplitScoresTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto model = ModulesModel::Load(kTinyModel, {.device = "cpu"});
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = model->release();
    auto dataset = PrecomputedDataset::Open(std::string(kTiny) + "/data", "test");
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    dataset_ = dataset->release();
    auto encoded = EncodeDataset(*model_, *dataset_, kDirections, [](int64_t) {});
    ASSERT_TRUE(encoded.ok()) << encoded.status();
    encoded_ = new EncodedDataset(*std::move(encoded));
    all_ = new PairTable(ScorePairs(*model_, *encoded_, RowRange(0, dataset_->num_images()),
                                    RowRange(0, dataset_->num_captions()), [](int64_t) {}));
  }
  static void TearDownTestSuite() {
    delete all_;
    delete encoded_;
    delete dataset_;
    delete model_;
  }
  static double Difference(const torch::Tensor& a, const torch::Tensor& b) {
    return (a - b).abs().max().item<double>();
  }

  static inline ModulesModel* model_ = nullptr;
  static inline PrecomputedDataset* dataset_ = nullptr;
  static inline EncodedDataset* encoded_ = nullptr;
  static inline PairTable* all_ = nullptr;
};

TEST_F(SplitScoresTest, OnePassGivesWhatEachDirectionsOwnGives) {
  for (Direction direction : kDirections) {
    int64_t advanced = 0;
    const auto alone =
        EncodeSplit(model_->network().direction(direction), model_->network().backbone(direction),
                    model_->info().max_words, torch::kCPU, *dataset_, std::nullopt,
                    [&](int64_t n) { advanced += n; });
    ASSERT_TRUE(alone.ok());
    const EncodedSplit& together = encoded_->directions[static_cast<int>(direction)];
    EXPECT_LT(Difference(together.regions, alone->regions), 1e-6);
    EXPECT_LT(Difference(together.image, alone->image), 1e-6);
    EXPECT_LT(Difference(together.words, alone->words), 1e-6);
    EXPECT_LT(Difference(together.sentence, alone->sentence), 1e-6);
    EXPECT_TRUE(together.word_mask.equal(alone->word_mask));
    EXPECT_EQ(together.first_equal, alone->first_equal);
    EXPECT_EQ(advanced, dataset_->num_images() + dataset_->num_captions());
  }
}

TEST_F(SplitScoresTest, CoarseRowsAreTheEncoders) {
  const auto items = model_->caption_encoder().EncodeCaptions(dataset_->captions());
  ASSERT_TRUE(items.ok());
  ASSERT_EQ(encoded_->caption_coarse.size(1), model_->info().coarse_dim);
  const torch::Tensor expected =
      torch::tensor(items->coarse).view({dataset_->num_captions(), items->coarse_dim});
  EXPECT_LT(Difference(encoded_->caption_coarse, expected), 1e-6);
  EXPECT_LT(Difference(encoded_->image_coarse.norm(2, -1), torch::ones(3)), 1e-5);
}

TEST_F(SplitScoresTest, DirectionsNotAskedForAreNotKept) {
  const std::vector<Direction> one = {Direction::kT2i};
  const auto encoded = EncodeDataset(*model_, *dataset_, one, [](int64_t) {});
  ASSERT_TRUE(encoded.ok());
  EXPECT_FALSE(encoded->directions[static_cast<int>(Direction::kI2t)].words.defined());
  const PairTable table = ScorePairs(*model_, *encoded, {1}, {2, 3}, [](int64_t) {});
  EXPECT_FALSE(table.scores[static_cast<int>(Direction::kI2t)].defined());
  EXPECT_LT(Difference(table.OfImages(ScoreMode::kT2i, 0, 1),
                       all_->OfImages(ScoreMode::kT2i, 1, 1).narrow(1, 2, 2)),
            1e-6);
}

TEST_F(SplitScoresTest, ListsOfRowsAreCutFromTheWhole) {
  const std::vector<int64_t> images = {0, 2}, captions = {1, 4, 14};
  int64_t advanced = 0;
  const PairTable some =
      ScorePairs(*model_, *encoded_, images, captions, [&](int64_t n) { advanced += n; });
  EXPECT_EQ(some.pairs(), 6);
  EXPECT_EQ(advanced, 12);  // by each direction
  for (ScoreMode mode : kScoreModes) {
    const torch::Tensor whole = all_->OfImages(mode, 0, 3);
    const torch::Tensor cut = some.OfImages(mode, 0, 2);
    const torch::Tensor turned = some.OfCaptions(mode, 0, 3);
    for (size_t i = 0; i < images.size(); ++i) {
      for (size_t c = 0; c < captions.size(); ++c) {
        const double expected = whole[images[i]][captions[c]].item<double>();
        EXPECT_NEAR(cut[i][c].item<double>(), expected, 1e-6);
        EXPECT_NEAR(turned[c][i].item<double>(), expected, 1e-6);
      }
    }
  }
}

TEST_F(SplitScoresTest, EnsembleIsTheMean) {
  const torch::Tensor mean =
      (all_->OfImages(ScoreMode::kI2t, 0, 3) + all_->OfImages(ScoreMode::kT2i, 0, 3)) / 2;
  EXPECT_TRUE(all_->OfImages(ScoreMode::kEnsemble, 0, 3).equal(mean));
}

TEST_F(SplitScoresTest, QueriesComeWithBothStagesScoresAndTheirTrueItems) {
  // Images 1 and 2 with their captions, as in a fold.
  const PairTable fold =
      ScorePairs(*model_, *encoded_, RowRange(1, 2), RowRange(5, 10), [](int64_t) {});
  std::vector<int64_t> rows, first_own;
  ForEachQuery(*encoded_, fold, Modality::kImage, ScoreMode::kI2t, [&](const QueryScores& query) {
    ASSERT_EQ(query.items(), 2);
    EXPECT_EQ(query.num_own, 1);
    for (int64_t i = 0; i < 2; ++i) {
      EXPECT_NEAR(query.rerank[i],
                  all_->OfImages(ScoreMode::kI2t, 1 + i, 1)[0][query.row].item<float>(), 1e-6);
      EXPECT_NEAR(
          query.coarse[i],
          encoded_->image_coarse[1 + i].dot(encoded_->caption_coarse[query.row]).item<float>(),
          1e-5);
    }
    rows.push_back(query.row);
    first_own.push_back(query.first_own);
  });
  EXPECT_THAT(rows, ElementsAre(5, 6, 7, 8, 9, 10, 11, 12, 13, 14));
  EXPECT_THAT(first_own, ElementsAre(0, 0, 0, 0, 0, 1, 1, 1, 1, 1));

  rows.clear();
  first_own.clear();
  ForEachQuery(*encoded_, fold, Modality::kCaption, ScoreMode::kT2i, [&](const QueryScores& query) {
    EXPECT_EQ(query.items(), 10);
    EXPECT_EQ(query.num_own, 5);
    rows.push_back(query.row);
    first_own.push_back(query.first_own);
  });
  EXPECT_THAT(rows, ElementsAre(1, 2));
  EXPECT_THAT(first_own, ElementsAre(0, 5));
}

TEST_F(SplitScoresTest, ReportsAgreeWithTheMetricsOfTheWholeMatrix) {
  const torch::Tensor similarity = all_->OfImages(ScoreMode::kEnsemble, 0, 3);
  const RetrievalMetrics metrics = ComputeMetrics(
      {similarity.data_ptr<float>(), static_cast<size_t>(similarity.numel())}, 3, 15, 5);
  for (Modality target : {Modality::kImage, Modality::kCaption}) {
    const bool images = target == Modality::kImage;
    TwoStageReport report(images ? 3 : 15, {.depths = {15}});
    ForEachQuery(*encoded_, *all_, target, ScoreMode::kEnsemble,
                 [&](const QueryScores& query) { report.Add(query); });
    const RankMetrics& expected = images ? metrics.text_to_image : metrics.image_to_text;
    const TwoStageReport::Summary summary = report.Summarise();
    EXPECT_EQ(summary.rerank.r1, expected.r1);
    EXPECT_EQ(summary.rerank.mean_rank, expected.mean_rank);
    EXPECT_EQ(summary.depths[0].rerank.metrics.mean_rank, expected.mean_rank);
  }
}

TEST(CaptionsOfEqualTextTest, FirstPlaces) {
  const std::vector<std::string> captions = {"a", "b", "a", "c", "b"};
  const std::vector<int64_t> first_equal = FirstEqual(captions);
  EXPECT_THAT(first_equal, ElementsAre(0, 1, 0, 3, 1));
  const std::vector<int64_t> some = {2, 3, 4, 0, 1};
  EXPECT_THAT(FirstOfText(first_equal, some), ElementsAre(0, 1, 2, 0, 2));
}

}  // namespace
}  // namespace dime
