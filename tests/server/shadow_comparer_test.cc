#include "server/shadow_comparer.h"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_gallery.h"
#include "tests/fakes/fake_model.h"

namespace dime {
namespace {

using ::testing::ElementsAre;

TEST(KendallTauTest, CountsPairsInTheSameOrder) {
  EXPECT_EQ(KendallTau({0, 1, 2, 3}), 1);
  EXPECT_EQ(KendallTau({9, 5, 2}), -1);
  EXPECT_DOUBLE_EQ(KendallTau({0, 2, 1}), 1.0 / 3);
}

// A live side and a shadow, over galleries of their own.
class ShadowComparerTest : public ::testing::Test {
 protected:
  struct Side {
    explicit Side(int images)
        : gallery(*LoadedGallery::Create(std::make_unique<FakeGallery>(FakeGallery::Contents{
                                             .num_images = images, .captions = FakeCaptions(30)}),
                                         model.info(), model.pair_scorer())),
          scorer(&model.pair_scorer(), {}),
          pipeline(gallery.get(), &model.caption_encoder(), &model.image_encoder(), &scorer) {}
    FakeModel model;
    std::unique_ptr<LoadedGallery> gallery;
    BatchingScorer scorer;
    SearchPipeline pipeline;
  };

  void Start(int shadow_images) {
    shadow_ = std::make_unique<Side>(shadow_images);
    comparer_ = std::make_unique<ShadowComparer>(
        ShadowComparer::Parts{.gallery = &shadow_->gallery->gallery(),
                              .pipeline = &shadow_->pipeline,
                              .model = shadow_->model.info(),
                              .live_calls = &live_calls_},
        ShadowComparer::Options{.rate = 1,
                                .on_comparison =
                                    [this](const ShadowComparison& comparison) {
                                      std::lock_guard<std::mutex> lock(mutex_);
                                      comparisons_.push_back(comparison);
                                      changed_.notify_all();
                                    },
                                .on_drop =
                                    [this](Modality, ShadowComparer::Drop reason) {
                                      std::lock_guard<std::mutex> lock(mutex_);
                                      drops_.push_back(reason);
                                      changed_.notify_all();
                                    }});
  }
  void SearchAndOffer(const Query& query, const SearchOptions& options = {.rerank_depth = 100}) {
    SearchAndOffer(live_, query, options);
  }
  void SearchAndOffer(const Side& live, const Query& query, const SearchOptions& options) {
    const auto view = live.gallery->gallery().Pin();
    const auto result = live.pipeline.Run(*view, query, options, CallContext());
    ASSERT_TRUE(result.ok()) << result.status();
    comparer_->Offer(*view, query, options, *result);
  }
  ShadowComparison AwaitComparison() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return !comparisons_.empty(); });
    return comparisons_.back();
  }
  std::vector<ShadowComparer::Drop> AwaitDrop() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return !drops_.empty(); });
    return drops_;
  }

  Side live_{40};
  std::unique_ptr<Side> shadow_;
  LiveCalls live_calls_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<ShadowComparison> comparisons_;
  std::vector<ShadowComparer::Drop> drops_;
  std::unique_ptr<ShadowComparer> comparer_;  // last: its thread uses the others
};

TEST_F(ShadowComparerTest, TheSameModelAndGalleryAgree) {
  Start(40);
  SearchAndOffer(TextQuery{"two big star"});
  const ShadowComparison comparison = AwaitComparison();
  EXPECT_EQ(comparison.target, Modality::kImage);
  EXPECT_EQ(comparison.overlap, 1);
  EXPECT_TRUE(comparison.same_top1);
  EXPECT_EQ(comparison.agreement, 1);
}

TEST_F(ShadowComparerTest, AGalleryThatLacksItemsOverlapsLess) {
  Start(10);
  SearchAndOffer(TextQuery{"two big star"}, {.top_k = 40, .rerank_depth = 40});
  const ShadowComparison comparison = AwaitComparison();
  EXPECT_GT(comparison.overlap, 0);
  EXPECT_LT(comparison.overlap, 1);
}

TEST_F(ShadowComparerTest, AModelThatTurnsTheOrderRoundDisagrees) {
  Start(40);
  shadow_->model.fake_scorer().replace_score = [](int64_t, float score) { return -score; };
  SearchAndOffer(TextQuery{"two big star"}, {.top_k = 40, .rerank_depth = 40});
  const ShadowComparison comparison = AwaitComparison();
  EXPECT_FALSE(comparison.same_top1);
  if (comparison.agreement.has_value()) {
    EXPECT_LT(*comparison.agreement, 0);
  }
}

TEST_F(ShadowComparerTest, AStoredImageIsFoundByItsId) {
  Start(40);
  SearchAndOffer(GalleryImageQuery{.row = 7});
  const ShadowComparison comparison = AwaitComparison();
  EXPECT_EQ(comparison.target, Modality::kCaption);
  EXPECT_EQ(comparison.overlap, 1);
}

TEST_F(ShadowComparerTest, AnImageThatTheShadowLacksIsNotCompared) {
  Start(5);
  SearchAndOffer(GalleryImageQuery{.row = 7});
  EXPECT_THAT(AwaitDrop(), ElementsAre(ShadowComparer::Drop::kNotComparable));
}

TEST_F(ShadowComparerTest, AFailureIsTold) {
  Start(40);
  shadow_->model.fake_scorer().on_launch = [](absl::Span<const ScoringRequest>) {
    return absl::InternalError("lost");
  };
  SearchAndOffer(TextQuery{"red"});
  EXPECT_THAT(AwaitDrop(), ElementsAre(ShadowComparer::Drop::kFailed));
}

TEST_F(ShadowComparerTest, PartsAndExactSearchesAreLeftOut) {
  Start(40);
  SearchAndOffer(TextQuery{"red"}, {.exact = true});
  SearchAndOffer(TextQuery{"red"}, {.rerank_depth = 40, .min_final_score = -1});
  SearchAndOffer(TextQuery{"two big star"});
  AwaitComparison();
  std::lock_guard<std::mutex> lock(mutex_);
  EXPECT_EQ(comparisons_.size(), 1);
  EXPECT_TRUE(drops_.empty());
}

// As after a reload. The fake's views own nothing, so that a sanitizer sees one that is kept.
TEST_F(ShadowComparerTest, WhatWaitsOutlivesTheGalleryThatServed) {
  Start(40);
  live_calls_.Started();
  {
    const Side replaced(40);
    SearchAndOffer(replaced, GalleryImageQuery{.row = 7}, {.rerank_depth = 100});
  }
  live_calls_.Ended();
  EXPECT_EQ(AwaitComparison().overlap, 1);
}

TEST_F(ShadowComparerTest, WaitsWhileCallsAreUnderWay) {
  Start(40);
  live_calls_.Started();
  SearchAndOffer(TextQuery{"two big star"});
  {
    std::lock_guard<std::mutex> lock(mutex_);
    EXPECT_TRUE(comparisons_.empty());
  }
  live_calls_.Ended();
  EXPECT_EQ(AwaitComparison().overlap, 1);
}

}  // namespace
}  // namespace dime
