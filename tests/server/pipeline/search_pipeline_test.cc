#include "server/pipeline/search_pipeline.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/query_scores.h"
#include "tests/fakes/fake_gallery.h"
#include "tests/fakes/fake_model.h"

namespace dime {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr int kNumImages = 60;
constexpr int kNumCaptions = 90;

class SearchPipelineTest : public ::testing::Test {
 protected:
  // What a search should find, by scoring everything one pair at a time and sorting by the rules.
  struct Expected {
    int64_t row;
    float score;
    float rerank_score;
    float coarse_score;
    int coarse_rank;
    float direction_scores[kNumDirections];
  };

  std::vector<Expected> ScoreEverything(const EncodedItemsView& query, ScoreMode mode, int depth,
                                        float fusion_weight) {
    const bool text = query.modality == Modality::kCaption;
    const EncodedItemsView items =
        *gallery_->gallery().Pin()->whole_features(text ? Modality::kImage : Modality::kCaption);
    std::vector<Expected> all(items.count);
    for (int64_t row = 0; row < items.count; ++row) {
      Expected& item = all[row];
      item.row = row;
      item.coarse_score = std::inner_product(query.coarse.begin(), query.coarse.end(),
                                             items.coarse.begin() + row * kFakeCoarseDim, 0.0f);
      for (Direction direction : kDirections) {
        item.direction_scores[static_cast<int>(direction)] =
            text ? FakeScore(items, row, query, 0, direction)
                 : FakeScore(query, 0, items, row, direction);
      }
      const float i2t = item.direction_scores[0], t2i = item.direction_scores[1];
      item.rerank_score = mode == ScoreMode::kI2t   ? i2t
                          : mode == ScoreMode::kT2i ? t2i
                                                    : (i2t + t2i) / 2;
      item.score = FusedScore(item.rerank_score, item.coarse_score, fusion_weight);
    }
    std::sort(all.begin(), all.end(), [](const Expected& a, const Expected& b) {
      return std::make_tuple(-a.coarse_score, a.row) < std::make_tuple(-b.coarse_score, b.row);
    });
    for (size_t k = 0; k < all.size(); ++k) all[k].coarse_rank = static_cast<int>(k) + 1;
    all.resize(std::min<size_t>(all.size(), depth));
    std::sort(all.begin(), all.end(), [](const Expected& a, const Expected& b) {
      return std::make_tuple(-a.score, a.coarse_rank) < std::make_tuple(-b.score, b.coarse_rank);
    });
    return all;
  }

  void ExpectSearchIsRight(const Query& query, const EncodedItemsView& encoded,
                           const SearchOptions& options) {
    const absl::StatusOr<SearchResult> result =
        pipeline_.Run(*gallery_->gallery().Pin(), query, options, CallContext());
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->target, OtherModality(encoded.modality));
    const int size = encoded.modality == Modality::kCaption ? kNumImages : kNumCaptions;
    const int depth = options.exact ? size : std::min(size, options.rerank_depth);
    const bool reranked = options.fusion_weight < 1;
    EXPECT_EQ(result->recalled_count, depth);
    EXPECT_EQ(result->reranked_count, reranked ? depth : 0);
    EXPECT_EQ(result->fusion_weight, options.fusion_weight);
    const std::vector<Expected> expected =
        ScoreEverything(encoded, options.mode, depth, options.fusion_weight);
    ASSERT_THAT(result->hits, SizeIs(std::min<size_t>(options.top_k, expected.size())));
    for (size_t k = 0; k < result->hits.size(); ++k) {
      const Hit& hit = result->hits[k];
      EXPECT_EQ(hit.row, expected[k].row) << "place " << k;
      EXPECT_EQ(hit.score, expected[k].score);
      ASSERT_EQ(hit.rerank_score.has_value(), reranked);
      EXPECT_EQ(hit.rerank_score.value_or(expected[k].rerank_score), expected[k].rerank_score);
      EXPECT_EQ(hit.coarse_score, expected[k].coarse_score);
      EXPECT_EQ(hit.coarse_rank, expected[k].coarse_rank);
      for (Direction direction : kDirections) {
        const int d = static_cast<int>(direction);
        const bool scored = reranked && Uses(options.mode, direction);
        ASSERT_EQ(hit.direction_scores[d].has_value(), scored);
        if (hit.direction_scores[d]) {
          EXPECT_EQ(*hit.direction_scores[d], expected[k].direction_scores[d]);
        }
        if (!options.want_paths || !scored) {
          EXPECT_THAT(hit.paths[d], IsEmpty());
          continue;
        }
        ASSERT_THAT(hit.paths[d], SizeIs(kNumPathWeights));
        EXPECT_EQ(hit.paths[d][17], FakePathWeight(expected[k].direction_scores[d], 17, direction));
      }
    }
  }

  FakeModel model_;
  const std::unique_ptr<LoadedGallery> gallery_ =
      *LoadedGallery::Create(std::make_unique<FakeGallery>(FakeGallery::Contents{
                                 .num_images = kNumImages, .captions = FakeCaptions(kNumCaptions)}),
                             model_.info(), model_.pair_scorer());
  // Batches smaller than most searches, so that splitting is in play.
  BatchingScorer scorer_{&model_.pair_scorer(), {.max_batch_pairs = 16}};
  const SearchPipeline pipeline_{gallery_.get(), &model_.caption_encoder(), &model_.image_encoder(),
                                 &scorer_};
};

// Every mode, depth and way to search, in both directions, against the exhaustive computation.
class SearchPipelineOptionsTest
    : public SearchPipelineTest,
      public ::testing::WithParamInterface<std::tuple<ScoreMode, int, int, bool, float>> {
 protected:
  SearchOptions Options() const {
    const auto [mode, top_k, depth, exact, fusion_weight] = GetParam();
    return {.top_k = top_k,
            .rerank_depth = std::max(top_k, depth),
            .exact = exact,
            .mode = mode,
            .want_paths = depth % 2 == 1,
            .fusion_weight = fusion_weight};
  }
};

TEST_P(SearchPipelineOptionsTest, TextToImages) {
  for (const std::string text : {"red star", "two big ring left", "blue"}) {
    const EncodedItems encoded = *model_.caption_encoder().EncodeCaptions({text});
    ExpectSearchIsRight(TextQuery{text}, encoded.view(), Options());
  }
}

TEST_P(SearchPipelineOptionsTest, RegionFeaturesToCaptions) {
  const std::vector<float> features = FakeRegionFeatures(1000);
  const EncodedItems encoded = *model_.image_encoder().EncodeImages(1, kFakeNumRegions, features);
  ExpectSearchIsRight(RegionFeaturesQuery{.num_regions = kFakeNumRegions, .values = features},
                      encoded.view(), Options());
}

TEST_P(SearchPipelineOptionsTest, GalleryImageToCaptions) {
  ExpectSearchIsRight(GalleryImageQuery{.row = 17},
                      gallery_->gallery().Pin()->whole_features(Modality::kImage)->Slice(17, 1),
                      Options());
}

INSTANTIATE_TEST_SUITE_P(
    All, SearchPipelineOptionsTest,
    ::testing::Combine(::testing::Values(ScoreMode::kI2t, ScoreMode::kT2i, ScoreMode::kEnsemble),
                       ::testing::Values(1, 10, 1000), ::testing::Values(1, 20, 55),
                       ::testing::Bool(), ::testing::Values(0.0f, 0.25f, 1.0f)));

TEST_F(SearchPipelineTest, TheCoarseScoreAloneCostsNoReranking) {
  model_.fake_scorer().on_launch = [](absl::Span<const ScoringRequest>) {
    return absl::InternalError("launched");
  };
  for (bool exact : {false, true}) {
    const auto result = pipeline_.Run(*gallery_->gallery().Pin(), TextQuery{"red star"},
                                      {.exact = exact, .fusion_weight = 1}, CallContext());
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->timings.rerank, absl::ZeroDuration());
    for (int k = 0; k < 10; ++k) {
      EXPECT_EQ(result->hits[k].coarse_rank, k + 1);
      EXPECT_EQ(result->hits[k].score, result->hits[k].coarse_score);
    }
  }
}

TEST_F(SearchPipelineTest, AdaptiveDepthFindsTheSameWithFewerPairs) {
  const EncodedItems encoded = *model_.caption_encoder().EncodeCaptions({"two big star"});
  SearchOptions options = {.top_k = 5, .rerank_depth = kNumImages, .fusion_weight = 0.75f};
  const auto full =
      pipeline_.Run(*gallery_->gallery().Pin(), TextQuery{"two big star"}, options, CallContext());
  ASSERT_TRUE(full.ok()) << full.status();
  // Rerank scores are within [-1, 1].
  options.score_bound = {.slope = 0.75f, .intercept = 0.25f};
  options.want_paths = true;
  const auto adaptive =
      pipeline_.Run(*gallery_->gallery().Pin(), TextQuery{"two big star"}, options, CallContext());
  ASSERT_TRUE(adaptive.ok()) << adaptive.status();
  EXPECT_EQ(adaptive->recalled_count, kNumImages);
  EXPECT_LT(adaptive->reranked_count, kNumImages);
  EXPECT_GE(adaptive->reranked_count, 16);
  ASSERT_THAT(adaptive->hits, SizeIs(5));
  for (int k = 0; k < 5; ++k) {
    const Hit& hit = adaptive->hits[k];
    EXPECT_EQ(hit.row, full->hits[k].row);
    EXPECT_EQ(hit.score, full->hits[k].score);
    EXPECT_EQ(hit.coarse_rank, full->hits[k].coarse_rank);
    // Each hit has its own paths, of whichever wave.
    ASSERT_THAT(hit.paths[1], SizeIs(kNumPathWeights));
    EXPECT_EQ(hit.paths[1][9], FakePathWeight(*hit.direction_scores[1], 9, Direction::kT2i));
  }
}

TEST_F(SearchPipelineTest, ACallCancelledBetweenWavesIsGivenUp) {
  CallContext context;
  std::atomic<int64_t> scored = 0;
  model_.fake_scorer().on_launch = [&](absl::Span<const ScoringRequest> requests) {
    if ((scored += requests[0].rows.size()) >= 32) context.Cancel();
    return absl::OkStatus();
  };
  // No bound to stop by: waves of 16, 16 and 28.
  const SearchOptions options = {.top_k = 5,
                                 .rerank_depth = kNumImages,
                                 .score_bound = ScoreBound{.slope = 0, .intercept = 2}};
  EXPECT_EQ(
      pipeline_.Run(*gallery_->gallery().Pin(), TextQuery{"red"}, options, context).status().code(),
      absl::StatusCode::kCancelled);
  EXPECT_EQ(scored, 32);
}

TEST_F(SearchPipelineTest, TiedScoresComeInOrderOfCoarseRank) {
  model_.fake_scorer().replace_score = [](int64_t, float) { return 0.25f; };
  for (bool exact : {false, true}) {
    const auto result = pipeline_.Run(
        *gallery_->gallery().Pin(), TextQuery{"red star"},
        {.top_k = kNumImages, .rerank_depth = kNumImages, .exact = exact}, CallContext());
    ASSERT_TRUE(result.ok()) << result.status();
    for (int k = 0; k < kNumImages; ++k) EXPECT_EQ(result->hits[k].coarse_rank, k + 1);
  }
}

TEST_F(SearchPipelineTest, TellsOfCutTextAndTimesItsStages) {
  const auto result =
      pipeline_.Run(*gallery_->gallery().Pin(), TextQuery{"one two three four five six seven"}, {},
                    CallContext());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->text_truncated);
  EXPECT_GT(result->timings.encode, absl::ZeroDuration());
  EXPECT_GT(result->timings.recall, absl::ZeroDuration());
  EXPECT_GT(result->timings.rerank, absl::ZeroDuration());
  EXPECT_GE(result->timings.select, absl::ZeroDuration());
}

TEST_F(SearchPipelineTest, ACallNoLongerWantedIsGivenUp) {
  CallContext cancelled;
  cancelled.Cancel();
  EXPECT_EQ(
      pipeline_.Run(*gallery_->gallery().Pin(), TextQuery{"red"}, {}, cancelled).status().code(),
      absl::StatusCode::kCancelled);
  EXPECT_EQ(
      pipeline_
          .Run(*gallery_->gallery().Pin(), TextQuery{"red"}, {}, CallContext(absl::InfinitePast()))
          .status()
          .code(),
      absl::StatusCode::kDeadlineExceeded);
}

TEST_F(SearchPipelineTest, ACallCancelledWhileRerankingIsGivenUp) {
  CallContext context;
  model_.fake_scorer().on_launch = [&context](absl::Span<const ScoringRequest>) {
    context.Cancel();
    return absl::OkStatus();
  };
  EXPECT_EQ(pipeline_
                .Run(*gallery_->gallery().Pin(), TextQuery{"red"}, {.top_k = 1, .rerank_depth = 1},
                     context)
                .status()
                .code(),
            absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace dime
