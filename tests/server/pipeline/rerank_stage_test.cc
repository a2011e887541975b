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
using ::testing::ElementsAre;
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

// With a clock that says how long a pair takes: each launch waits for so much, and the rate is
// known.
class DegradedRerankTest : public RerankStageTest {
 protected:
  static constexpr absl::Duration kPair = absl::Milliseconds(2);

  DegradedRerankTest() {
    model_.fake_scorer().on_launch = [](absl::Span<const ScoringRequest> requests) {
      const absl::Time start = absl::Now();
      int64_t pairs = 0;
      for (const ScoringRequest& request : requests) pairs += request.rows.size();
      while (absl::Now() - start < pairs * kPair) {
      }
      return absl::OkStatus();
    };
    for (int k = 0; k < 20; ++k) candidates_.push_back({k, 0.9f - 0.01f * k});
  }

  absl::StatusOr<RerankedCandidates> Run(const SearchOptions& options, absl::Duration time) {
    return stage_.Run(*gallery_->gallery().Pin(), query_, candidates_, options,
                      CallContext(absl::Now() + time));
  }

  std::vector<Candidate> candidates_;
  const SearchOptions one_{.top_k = 3, .mode = ScoreMode::kI2t, .min_rerank_depth = 3};
};

TEST_F(DegradedRerankTest, WithTimeEnoughAllAreReranked) {
  ASSERT_TRUE(Run(one_, absl::InfiniteDuration()).ok());
  const auto reranked = Run(one_, absl::Seconds(60));
  ASSERT_TRUE(reranked.ok()) << reranked.status();
  EXPECT_THAT(reranked->rerank_scores, SizeIs(20));
  EXPECT_THAT(reranked->degradations, IsEmpty());
}

TEST_F(DegradedRerankTest, TheDepthShrinksToWhatFits) {
  ASSERT_TRUE(Run(one_, absl::InfiniteDuration()).ok());
  // Time for about half of them, by a generous margin; slow machines see fewer, never a lie.
  const auto reranked = Run(one_, 14 * kPair);
  if (absl::IsDeadlineExceeded(reranked.status())) GTEST_SKIP() << "this machine was held up";
  ASSERT_TRUE(reranked.ok()) << reranked.status();
  EXPECT_LT(reranked->rerank_scores.size(), 20);
  EXPECT_GE(reranked->rerank_scores.size(), 3);
  EXPECT_THAT(reranked->candidates, SizeIs(reranked->rerank_scores.size()));
  EXPECT_EQ(reranked->candidates[0].row, 0);
  EXPECT_THAT(reranked->degradations, ElementsAre(Degradation::kDeadline));
}

TEST_F(DegradedRerankTest, ADepthThatMayNotShrinkDoesNot) {
  ASSERT_TRUE(Run(one_, absl::InfiniteDuration()).ok());
  SearchOptions whole = one_;
  whole.min_rerank_depth = 20;
  const auto reranked = Run(whole, 3 * kPair);
  // It is tried, for all that the estimate says.
  EXPECT_TRUE(reranked.ok() || absl::IsDeadlineExceeded(reranked.status()));
  if (reranked.ok()) {
    EXPECT_THAT(reranked->rerank_scores, SizeIs(20));
  }
}

TEST_F(RerankStageTest, AFailureCanBecomeTheCoarseOrder) {
  model_.fake_scorer().on_launch = [](absl::Span<const ScoringRequest>) {
    return absl::InternalError("the device is lost");
  };
  const SearchOptions coarse = {.mode = ScoreMode::kI2t, .coarse_on_error = true};
  const std::vector<Candidate> candidates = {{7, 0.9f}, {2, 0.8f}};
  const auto reranked =
      stage_.Run(*gallery_->gallery().Pin(), query_, candidates, coarse, CallContext());
  ASSERT_TRUE(reranked.ok()) << reranked.status();
  EXPECT_THAT(reranked->final_scores, ElementsAre(0.9f, 0.8f));
  EXPECT_THAT(reranked->rerank_scores, IsEmpty());
  EXPECT_THAT(reranked->degradations, ElementsAre(Degradation::kRerankFailed));
  // But what nobody wants any more stays an error.
  CallContext cancelled;
  cancelled.Cancel();
  EXPECT_EQ(
      stage_.Run(*gallery_->gallery().Pin(), query_, candidates, coarse, cancelled).status().code(),
      absl::StatusCode::kCancelled);
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
