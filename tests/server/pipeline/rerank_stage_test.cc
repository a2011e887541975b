#include "server/pipeline/rerank_stage.h"

#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_gallery.h"
#include "tests/fakes/fake_model.h"

namespace dime {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class RerankStageTest : public ::testing::Test {
 protected:
  absl::StatusOr<RerankedCandidates> Run(std::vector<Candidate> candidates, ScoreMode mode) {
    return stage_.Run(*gallery_->gallery().Pin(), query_, std::move(candidates), {.mode = mode},
                      CallContext());
  }

  FakeModel model_;
  const std::unique_ptr<LoadedGallery> gallery_ =
      *LoadedGallery::Create(std::make_unique<FakeGallery>(FakeGallery::Contents{20}),
                             model_.info(), model_.pair_scorer());
  const EncodedQuery query_{*model_.caption_encoder().EncodeCaptions({"two big star"}), false};
  BatchingScorer scorer_{&model_.pair_scorer(), {}};
  const RerankStage stage_{gallery_.get(), &scorer_};
};

TEST_F(RerankStageTest, ScoresEachCandidateAndKeepsTheirOrder) {
  const auto reranked = Run({{7, 0.9f}, {2, 0.8f}, {11, 0.1f}}, ScoreMode::kEnsemble);
  ASSERT_TRUE(reranked.ok()) << reranked.status();
  ASSERT_THAT(reranked->candidates, SizeIs(3));
  const EncodedItemsView images = *gallery_->gallery().Pin()->whole_features(Modality::kImage);
  const int64_t rows[] = {7, 2, 11};
  for (int k = 0; k < 3; ++k) {
    EXPECT_EQ(reranked->candidates[k].row, rows[k]);
    const float i2t = FakeScore(images, rows[k], query_.view(), 0, Direction::kI2t);
    const float t2i = FakeScore(images, rows[k], query_.view(), 0, Direction::kT2i);
    EXPECT_EQ(reranked->scores.scores[0][k], i2t);
    EXPECT_EQ(reranked->scores.scores[1][k], t2i);
    EXPECT_FLOAT_EQ(reranked->rerank_scores[k], (i2t + t2i) / 2);
    EXPECT_EQ(reranked->final_scores[k], reranked->rerank_scores[k]);
  }
}

TEST_F(RerankStageTest, NoCandidatesCostNoLaunch) {
  model_.fake_scorer().on_launch = [](absl::Span<const ScoringRequest>) {
    return absl::InternalError("launched");
  };
  const auto reranked = Run({}, ScoreMode::kI2t);
  ASSERT_TRUE(reranked.ok()) << reranked.status();
  EXPECT_THAT(reranked->final_scores, IsEmpty());
}

TEST_F(RerankStageTest, AScoreThatIsNoNumberIsInternal) {
  for (float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    model_.fake_scorer().replace_score = [bad](int64_t row, float score) {
      return row == 2 ? bad : score;
    };
    const auto reranked = Run({{7, 0.9f}, {2, 0.8f}}, ScoreMode::kT2i);
    EXPECT_EQ(reranked.status().code(), absl::StatusCode::kInternal);
    EXPECT_THAT(reranked.status().message(), AllOf(HasSubstr("t2i"), HasSubstr("row 2")));
  }
}

TEST_F(RerankStageTest, TheScorersOwnErrorsAreInternal) {
  model_.fake_scorer().on_launch = [](absl::Span<const ScoringRequest>) {
    return absl::InvalidArgumentError("shapes do not fit");
  };
  const auto reranked = Run({{7, 0.9f}}, ScoreMode::kI2t);
  EXPECT_EQ(reranked.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(reranked.status().message(), HasSubstr("shapes do not fit"));
}

TEST_F(RerankStageTest, ACallNoLongerWantedKeepsItsCode) {
  CallContext cancelled;
  cancelled.Cancel();
  EXPECT_EQ(
      stage_.Run(*gallery_->gallery().Pin(), query_, {{1, 0.5f}}, {}, cancelled).status().code(),
      absl::StatusCode::kCancelled);
  EXPECT_EQ(stage_
                .Run(*gallery_->gallery().Pin(), query_, {{1, 0.5f}}, {},
                     CallContext(absl::InfinitePast()))
                .status()
                .code(),
            absl::StatusCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace dime
