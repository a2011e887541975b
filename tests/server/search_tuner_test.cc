#include "server/search_tuner.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <set>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/batching_scorer.h"
#include "server/pipeline/loaded_gallery.h"
#include "tests/fakes/fake_gallery.h"
#include "tests/fakes/fake_model.h"

namespace dime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int kNumImages = 60;
constexpr int kNumCaptions = 90;
constexpr int kLists = 8;

// Its image index has an effort: at effort e it looks at the rows whose remainder by 8 is below e.
class ListedGallery : public FakeGallery {
 public:
  explicit ListedGallery(const Contents& contents) : FakeGallery(contents) {
    mutable_info().image_index = "IVF8,Flat";
  }
  absl::StatusOr<std::vector<Candidate>> Recall(Modality modality,
                                                absl::Span<const float> coarse_query, int64_t k,
                                                const RecallOptions& options) const override {
    auto all = FakeGallery::Recall(modality, coarse_query, size(modality), options);
    if (!all.ok()) return all;
    if (modality == Modality::kImage && !options.exact) {
      std::erase_if(*all, [&](const Candidate& candidate) {
        return candidate.row % kLists >= options.effort;
      });
    }
    all->resize(std::min<size_t>(all->size(), static_cast<size_t>(k)));
    return all;
  }
};

class SearchTunerTest : public ::testing::Test {
 protected:
  SearchTunerTest()
      : gallery_(LoadGallery()),
        scorer_(&model_.pair_scorer(), {}),
        encode_(&model_.caption_encoder(), &model_.image_encoder()),
        pipeline_(gallery_.get(), &model_.caption_encoder(), &model_.image_encoder(), &scorer_),
        null_(std::fopen("/dev/null", "w")) {
    for (const std::string& caption : FakeCaptions(12)) texts_.emplace_back(TextQuery{caption});
    for (int64_t row = 0; row < 12; ++row) images_.emplace_back(GalleryImageQuery{row});
  }
  ~SearchTunerTest() override { std::fclose(null_); }

  std::unique_ptr<LoadedGallery> LoadGallery() {
    auto loaded = LoadedGallery::Create(
        std::make_unique<ListedGallery>(FakeGallery::Contents{
            .num_images = kNumImages, .captions = FakeCaptions(kNumCaptions)}),
        model_.info(), model_.pair_scorer());
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return *std::move(loaded);
  }
  absl::StatusOr<SearchTuner::Tuning> Tune(const std::vector<Query>& queries,
                                           SearchTuner::Options options) const {
    options.progress = null_;
    return SearchTuner(gallery_->gallery().Pin().get(), &encode_, &pipeline_, model_.info(),
                       options)
        .Tune(queries);
  }
  std::set<int64_t> Rows(const Query& query, const SearchOptions& options) const {
    const auto result = pipeline_.Run(*gallery_->gallery().Pin(), query, options, CallContext());
    EXPECT_TRUE(result.ok()) << result.status();
    std::set<int64_t> rows;
    for (const Hit& hit : result->hits) rows.insert(hit.row);
    return rows;
  }

  FakeModel model_;
  const std::unique_ptr<LoadedGallery> gallery_;
  BatchingScorer scorer_;
  const EncodeStage encode_;
  const SearchPipeline pipeline_;
  std::FILE* const null_;
  std::vector<Query> texts_, images_;
};

TEST_F(SearchTunerTest, RecallIsTheShareOfExactHitsThatTheSearchItselfKeeps) {
  for (const float weight : {0.0f, 0.4f}) {
    for (const std::vector<Query>* queries : {&texts_, &images_}) {
      const Modality target = TargetOf(queries->front());
      model_.mutable_info().ranking.of(target, ScoreMode::kEnsemble) = {.fusion_weight = weight};
      const auto tuning = Tune(*queries, {.k = 5, .depths = {5, 9, 20, 1000}, .efforts = {3, 8}});
      ASSERT_TRUE(tuning.ok()) << tuning.status();
      EXPECT_EQ(tuning->target, target);
      EXPECT_EQ(tuning->queries, 12);
      EXPECT_EQ(tuning->fusion_weight, weight);
      EXPECT_EQ(tuning->settings, target == Modality::kImage ? 8 : 4);  // captions have no effort
      EXPECT_EQ(tuning->front.back().recall, 1);
      for (const TuningPoint& point : tuning->front) {
        double kept = 0;
        for (const Query& query : *queries) {
          const std::set<int64_t> exact =
              Rows(query, {.top_k = 5, .exact = true, .fusion_weight = weight});
          const std::set<int64_t> found = Rows(query, {.top_k = 5,
                                                       .rerank_depth = point.rerank_depth,
                                                       .search_effort = point.search_effort,
                                                       .fusion_weight = weight});
          for (const int64_t row : exact) kept += static_cast<double>(found.count(row));
        }
        EXPECT_NEAR(point.recall, kept / 60, 1e-9) << point.rerank_depth;
        EXPECT_GT(point.median, absl::ZeroDuration());
        EXPECT_GE(point.p99, point.median);
        EXPECT_LE(point.pairs, point.rerank_depth);
      }
    }
  }
}

TEST_F(SearchTunerTest, FindsThePlantedEffort) {
  // The best hits are rows 0 to 9 for every query; the lists of effort e hold so many of them.
  model_.fake_scorer().replace_score = [](int64_t row, float) {
    return 1 - static_cast<float>(row) / kNumImages;
  };
  const auto tuning = Tune(texts_, {.k = 10, .depths = {kNumImages}});
  ASSERT_TRUE(tuning.ok()) << tuning.status();
  std::vector<std::pair<int, double>> found;
  for (const TuningPoint& point : tuning->front) {
    found.emplace_back(point.search_effort, point.recall);
    EXPECT_NEAR(point.recall_error, 0, 1e-6);  // all queries are alike
  }
  // Rows 0 and 8; 0, 1, 8 and 9; 0 to 3, 8 and 9; all.
  EXPECT_THAT(found, ElementsAre(std::pair(1, 0.2), std::pair(2, 0.4), std::pair(4, 0.6),
                                 std::pair(8, 1.0)));
  EXPECT_EQ(ChoosePoint(tuning->front, 0.5, absl::InfiniteDuration()), 2u);
}

TEST_F(SearchTunerTest, TheDepthThatIsNeededIsFound) {
  // The one best caption is the one in the 20th place by coarse score.
  const std::vector<Query> one(1, images_[4]);
  const auto encoded = encode_.Run(*gallery_->gallery().Pin(), one[0]);
  ASSERT_TRUE(encoded.ok());
  const auto order =
      gallery_->gallery().Pin()->Recall(Modality::kCaption, encoded->view().coarse, 20, {});
  ASSERT_TRUE(order.ok());
  model_.fake_scorer().replace_score = [best = order->back().row](int64_t row, float score) {
    return row == best ? 1.0f : score / 2;
  };
  const auto tuning = Tune(one, {.k = 1, .depths = {1, 10, 19, 20, 40}});
  ASSERT_TRUE(tuning.ok()) << tuning.status();
  // A deeper search keeps no more than depth 20 does, a shallower one nothing, at the least cost.
  ASSERT_EQ(tuning->front.size(), 2u);
  EXPECT_EQ(tuning->front[0].rerank_depth, 1);
  EXPECT_EQ(tuning->front[0].recall, 0);
  EXPECT_EQ(tuning->front[1].rerank_depth, 20);
  EXPECT_EQ(tuning->front[1].recall, 1);
  EXPECT_EQ(tuning->front[1].pairs, 20);

  const auto shallow = Tune(one, {.k = 1, .depths = {1, 10, 19}});
  ASSERT_TRUE(shallow.ok()) << shallow.status();
  EXPECT_EQ(ChoosePoint(shallow->front, 0.99, absl::InfiniteDuration()), std::nullopt);
}

TEST_F(SearchTunerTest, WhereTheCoarseScoreAloneCountsNothingIsReranked) {
  model_.mutable_info().ranking.of(Modality::kCaption, ScoreMode::kEnsemble) = {.fusion_weight = 1};
  const auto tuning = Tune(images_, {.k = 5});
  ASSERT_TRUE(tuning.ok()) << tuning.status();
  EXPECT_EQ(tuning->front.front().recall, 1);
  EXPECT_EQ(tuning->front.front().pairs, 0);
}

TEST_F(SearchTunerTest, DefaultDepthsReachFromTheTopHitsToTheWholeGallery) {
  EXPECT_THAT(SearchTuner::DefaultDepths(10, 60), ElementsAre(10, 14, 20, 28, 40, 56, 60));
  EXPECT_THAT(SearchTuner::DefaultDepths(10, 10), ElementsAre(10));
  EXPECT_THAT(SearchTuner::DefaultDepths(10, 3), ElementsAre(3));
  EXPECT_EQ(SearchTuner::DefaultDepths(1, 1'000'000).back(), 2000);
  EXPECT_TRUE(Tune(texts_, {.k = 100}).ok());  // more than the gallery holds
}

TEST_F(SearchTunerTest, RefusesWhatCannotBeTuned) {
  const auto expect_invalid = [](const absl::StatusOr<SearchTuner::Tuning>& tuning,
                                 const char* words) {
    EXPECT_EQ(tuning.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(tuning.status().message()), HasSubstr(words));
  };
  expect_invalid(Tune({}, {}), "no queries");
  std::vector<Query> mixed = texts_;
  mixed.insert(mixed.end(), images_.begin(), images_.end());
  expect_invalid(Tune(mixed, {}), "all search one kind");
  expect_invalid(Tune(texts_, {.k = 10, .depths = {9}}), "least depth 9");
  expect_invalid(Tune(texts_, {.k = 0, .depths = {9}}), "k is 0");
  expect_invalid(Tune(texts_, {.efforts = {0}}), "effort");
}

}  // namespace
}  // namespace dime
