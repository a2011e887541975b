#include "server/recall_auditor.h"

#include <sched.h>
#include <sys/resource.h>

#include <atomic>
#include <cmath>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/batching_scorer.h"
#include "server/pipeline/search_pipeline.h"
#include "tests/fakes/fake_gallery.h"
#include "tests/fakes/fake_model.h"
#include "tests/fakes/gate.h"

namespace dime {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr int kNumImages = 60;

// Whether this thread is the audit's.
bool OnLowestPriority() {
  return sched_getscheduler(0) == SCHED_IDLE || getpriority(PRIO_PROCESS, 0) == 19;
}

class RecallAuditorTest : public ::testing::Test {
 protected:
  RecallAuditorTest() {
    options_.rate = 1;
    options_.wave_pairs = 16;
    options_.on_audit = [this](const RecallAudit& audit) {
      std::lock_guard<std::mutex> lock(mutex_);
      audits_.push_back(audit);
      changed_.notify_all();
    };
    options_.on_drop = [this](Modality, RecallAuditor::Drop reason) {
      std::lock_guard<std::mutex> lock(mutex_);
      drops_.push_back(reason);
      changed_.notify_all();
    };
  }

  void Start() {
    auditor_ = std::make_unique<RecallAuditor>(
        RecallAuditor::Parts{.gallery = gallery_.get(),
                             .caption_encoder = &model_.caption_encoder(),
                             .image_encoder = &model_.image_encoder(),
                             .scorer = &model_.pair_scorer(),
                             .live_calls = &live_calls_},
        options_);
  }

  SearchResult Search(const SearchOptions& options,
                      const Query& query = TextQuery{"two big star"}) {
    absl::StatusOr<SearchResult> result =
        pipeline_.Run(*gallery_->gallery().Pin(), query, options, CallContext());
    EXPECT_TRUE(result.ok()) << result.status();
    return *std::move(result);
  }

  // Answers a search and offers it.
  void SearchAndOffer(const SearchOptions& options,
                      const Query& query = TextQuery{"two big star"}) {
    auditor_->Offer(gallery_->gallery().Pin(), query, options, Search(options, query));
  }

  std::vector<RecallAudit> AwaitAudits(size_t count) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this, count] { return audits_.size() >= count; });
    return audits_;
  }
  std::vector<RecallAuditor::Drop> AwaitDrops(size_t count) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this, count] { return drops_.size() >= count; });
    return drops_;
  }

  FakeModel model_;
  const std::unique_ptr<LoadedGallery> gallery_ =
      *LoadedGallery::Create(std::make_unique<FakeGallery>(FakeGallery::Contents{
                                 .num_images = kNumImages, .captions = FakeCaptions(90)}),
                             model_.info(), model_.pair_scorer());
  BatchingScorer scorer_{&model_.pair_scorer(), {}};
  const SearchPipeline pipeline_{gallery_.get(), &model_.caption_encoder(), &model_.image_encoder(),
                                 &scorer_};
  RecallAuditor::Options options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<RecallAudit> audits_;
  std::vector<RecallAuditor::Drop> drops_;
  Gate gate_;
  LiveCalls live_calls_;
  std::unique_ptr<RecallAuditor> auditor_;  // last: its thread uses the others
};

// As where a filter matches nothing: there is nothing to have missed.
TEST_F(RecallAuditorTest, AnAnswerWithoutHitsIsNotAudited) {
  Start();
  auditor_->Offer(gallery_->gallery().Pin(), TextQuery{"two big star"}, {},
                  SearchResult{.target = Modality::kImage});
  SearchAndOffer({.rerank_depth = kNumImages});
  EXPECT_EQ(AwaitAudits(1)[0].ratios[0], 1);
  EXPECT_THAT(drops_, IsEmpty());
}

TEST_F(RecallAuditorTest, FindsNothingMissingInACompleteAnswer) {
  Start();
  SearchAndOffer({.rerank_depth = kNumImages});
  SearchAndOffer({.rerank_depth = 90, .mode = ScoreMode::kI2t, .fusion_weight = 0.5f},
                 GalleryImageQuery{.row = 7});
  SearchAndOffer({.rerank_depth = 90}, RegionFeaturesQuery{.num_regions = kFakeNumRegions,
                                                           .values = FakeRegionFeatures(99)});
  const std::vector<RecallAudit> audits = AwaitAudits(3);
  EXPECT_EQ(audits[0].target, Modality::kImage);
  EXPECT_EQ(audits[1].target, Modality::kCaption);
  for (const RecallAudit& audit : audits) {
    EXPECT_THAT(audit.ratios, ElementsAre(1.0, 1.0));
    EXPECT_TRUE(audit.top1_in_window);
    EXPECT_GT(audit.lag, absl::ZeroDuration());
  }
  EXPECT_THAT(AwaitDrops(0), IsEmpty());
}

TEST_F(RecallAuditorTest, FindsWhatADepthTooSmallMissed) {
  // The last of the coarse order is by far the best, and seven more of the second half follow it.
  const SearchResult coarse = Search({.top_k = kNumImages, .exact = true, .fusion_weight = 1});
  std::vector<float> planted(kNumImages);
  for (int place = 0; place < kNumImages; ++place) {
    planted[coarse.hits[place].row] = place >= kNumImages - 8
                                          ? 0.5f + 0.01f * static_cast<float>(place) / kNumImages
                                          : -0.01f * static_cast<float>(place);
  }
  model_.fake_scorer().replace_score = [&planted](int64_t row, float) { return planted[row]; };
  Start();
  SearchAndOffer({.rerank_depth = 30});
  const RecallAudit audit = AwaitAudits(1)[0];
  EXPECT_THAT(audit.ratios, ElementsAre(0.0, 0.2));
  EXPECT_FALSE(audit.top1_in_window);

  SearchAndOffer({.rerank_depth = kNumImages - 4});
  EXPECT_THAT(AwaitAudits(2)[1].ratios, ElementsAre(0.0, 0.6));
}

TEST_F(RecallAuditorTest, ComparesUnderTheSearchsOwnRules) {
  // By rerank scores alone much would be missing at this depth; by the coarse score nothing is, and
  // nothing is scored for it.
  std::atomic<int> launches = 0;
  model_.fake_scorer().on_launch = [&launches](absl::Span<const ScoringRequest>) {
    ++launches;
    return absl::OkStatus();
  };
  Start();
  SearchAndOffer({.rerank_depth = 10, .fusion_weight = 1});
  EXPECT_THAT(AwaitAudits(1)[0].ratios, ElementsAre(1.0, 1.0));
  EXPECT_EQ(launches, 0);
  // Not more hits are compared than were asked for.
  SearchAndOffer({.top_k = 3, .rerank_depth = kNumImages});
  EXPECT_THAT(AwaitAudits(2)[1].ratios, ElementsAre(1.0, std::nullopt));
  auditor_ = nullptr;  // before `launches`
}

TEST_F(RecallAuditorTest, TiesAreNoMisses) {
  model_.fake_scorer().replace_score = [](int64_t, float) { return 0.25f; };
  Start();
  SearchAndOffer({.rerank_depth = 20});
  const RecallAudit audit = AwaitAudits(1)[0];
  EXPECT_THAT(audit.ratios, ElementsAre(1.0, 1.0));
  EXPECT_TRUE(audit.top1_in_window);
}

TEST_F(RecallAuditorTest, ScoresNoMoreItemsThanAllowed) {
  options_.max_items = 25;
  std::atomic<int64_t> scored = 0;
  Start();
  const SearchOptions options = {.rerank_depth = 25};
  const SearchResult result = Search(options);
  model_.fake_scorer().on_launch = [&scored](absl::Span<const ScoringRequest> requests) {
    EXPECT_LE(requests[0].rows.size(), 16u);
    scored += requests[0].rows.size();
    return absl::OkStatus();
  };
  auditor_->Offer(gallery_->gallery().Pin(), TextQuery{"two big star"}, options, result);
  EXPECT_THAT(AwaitAudits(1)[0].ratios, ElementsAre(1.0, 1.0));
  EXPECT_EQ(scored, 25);
  auditor_ = nullptr;  // before `scored`
}

TEST_F(RecallAuditorTest, SamplesItsShareButNoExactSearches) {
  options_.rate = 0.25;
  options_.max_queued = 1000;
  Start();
  const SearchResult result = Search({});
  for (int n = 0; n < 100; ++n) {
    auditor_->Offer(gallery_->gallery().Pin(), TextQuery{"red"}, {}, result);
    auditor_->Offer(gallery_->gallery().Pin(), TextQuery{"red"}, {.exact = true}, result);
  }
  // Samples are audited in turn: this one is the last of four more, whichever the phase is.
  for (int n = 0; n < 4; ++n)
    auditor_->Offer(gallery_->gallery().Pin(), GalleryImageQuery{.row = 1}, {}, result);
  const std::vector<RecallAudit> audits = AwaitAudits(26);
  for (int n = 0; n < 25; ++n) EXPECT_EQ(audits[n].target, Modality::kImage);
  EXPECT_EQ(audits[25].target, Modality::kCaption);
}

TEST_F(RecallAuditorTest, RunsAtTheLowestPriority) {
  std::atomic<bool> lowest = false;
  Start();
  const SearchResult result = Search({});
  model_.fake_scorer().on_launch = [&lowest](absl::Span<const ScoringRequest>) {
    lowest = OnLowestPriority();
    return absl::OkStatus();
  };
  auditor_->Offer(gallery_->gallery().Pin(), TextQuery{"red"}, {}, result);
  AwaitAudits(1);
  EXPECT_TRUE(lowest);
  EXPECT_FALSE(OnLowestPriority());  // it alone
  auditor_ = nullptr;                // before `lowest`
}

TEST_F(RecallAuditorTest, NoWaveBeginsWhileACallIsUnderWay) {
  std::atomic<bool> live = false;
  std::atomic<int> waves = 0, waves_beside = 0;
  Start();
  const SearchResult result = Search({});
  model_.fake_scorer().on_launch = [&](absl::Span<const ScoringRequest>) {
    if (live) ++waves_beside;
    ++waves;
    gate_.Pass();
    return absl::OkStatus();
  };
  auditor_->Offer(gallery_->gallery().Pin(), TextQuery{"red"}, {}, result);
  gate_.AwaitArrivals(1);
  live_calls_.Started();
  live_calls_.Started();
  live = true;
  gate_.Open();
  // A whole search goes by, unhindered, and the end of one call is not the end of both.
  live_calls_.Ended();
  for (int n = 0; n < 1000; ++n) std::this_thread::yield();
  EXPECT_EQ(waves, 1);
  EXPECT_THAT(AwaitAudits(0), IsEmpty());
  live = false;
  live_calls_.Ended();
  AwaitAudits(1);
  EXPECT_EQ(waves, 4);  // of 16 of the 60 images
  EXPECT_EQ(waves_beside, 0);
  auditor_ = nullptr;  // before what it counts
}

TEST_F(RecallAuditorTest, ALiveSearchIsAnsweredWhileAnAuditIsStuck) {
  Start();
  const SearchResult result = Search({});
  model_.fake_scorer().on_launch = [this](absl::Span<const ScoringRequest>) {
    if (OnLowestPriority()) gate_.Pass();
    return absl::OkStatus();
  };
  auditor_->Offer(gallery_->gallery().Pin(), TextQuery{"red"}, {}, result);
  gate_.AwaitArrivals(1);
  live_calls_.Started();
  EXPECT_THAT(Search({}).hits, SizeIs(10));
  live_calls_.Ended();
  EXPECT_THAT(AwaitAudits(0), IsEmpty());
  gate_.Open();
  EXPECT_THAT(AwaitAudits(1), SizeIs(1));
}

TEST_F(RecallAuditorTest, AFullQueueDropsAndTellsIt) {
  options_.max_queued = 2;
  Start();
  const SearchResult result = Search({});
  model_.fake_scorer().on_launch = [this](absl::Span<const ScoringRequest>) {
    gate_.Pass();
    return absl::OkStatus();
  };
  auditor_->Offer(gallery_->gallery().Pin(), TextQuery{"red"}, {}, result);
  gate_.AwaitArrivals(1);  // it has left the queue
  for (int n = 0; n < 5; ++n)
    auditor_->Offer(gallery_->gallery().Pin(), TextQuery{"blue"}, {}, result);
  EXPECT_THAT(AwaitDrops(3),
              ElementsAre(RecallAuditor::Drop::kQueueFull, RecallAuditor::Drop::kQueueFull,
                          RecallAuditor::Drop::kQueueFull));
  gate_.Open();
  EXPECT_THAT(AwaitAudits(3), SizeIs(3));
}

TEST_F(RecallAuditorTest, AFailureIsToldAndTheNextSampleIsAudited) {
  Start();
  const SearchResult result = Search({});
  std::atomic<bool> fail = true;
  model_.fake_scorer().on_launch = [&fail](absl::Span<const ScoringRequest>) {
    return fail ? absl::InternalError("out of memory") : absl::OkStatus();
  };
  auditor_->Offer(gallery_->gallery().Pin(), TextQuery{"red"}, {}, result);
  EXPECT_THAT(AwaitDrops(1), ElementsAre(RecallAuditor::Drop::kFailed));
  fail = false;
  model_.fake_scorer().replace_score = [](int64_t, float) { return std::nanf(""); };
  auditor_->Offer(gallery_->gallery().Pin(), TextQuery{"red"}, {}, result);
  EXPECT_THAT(AwaitDrops(2),
              ElementsAre(RecallAuditor::Drop::kFailed, RecallAuditor::Drop::kFailed));
  model_.fake_scorer().replace_score = nullptr;
  auditor_->Offer(gallery_->gallery().Pin(), TextQuery{"red"}, {}, result);
  EXPECT_THAT(AwaitAudits(1), SizeIs(1));
  auditor_ = nullptr;  // before `fail`
}

TEST_F(RecallAuditorTest, StoppingForgetsWhatIsUnderWay) {
  std::atomic<int> waves = 0;
  Start();
  const SearchResult result = Search({});
  model_.fake_scorer().on_launch = [this, &waves](absl::Span<const ScoringRequest>) {
    ++waves;
    gate_.Pass();
    return absl::OkStatus();
  };
  auditor_->Offer(gallery_->gallery().Pin(), TextQuery{"red"}, {}, result);
  auditor_->Offer(gallery_->gallery().Pin(), TextQuery{"blue"}, {}, result);
  gate_.AwaitArrivals(1);
  auditor_->Stop();  // returns while the wave is held
  auditor_->Offer(gallery_->gallery().Pin(), TextQuery{"ring"}, {}, result);
  gate_.Open();
  auditor_ = nullptr;
  EXPECT_EQ(waves, 1);
  EXPECT_THAT(AwaitAudits(0), IsEmpty());
  EXPECT_THAT(AwaitDrops(0), IsEmpty());
}

TEST_F(RecallAuditorTest, StopsWhileItWaitsForALiveCall) {
  Start();
  live_calls_.Started();
  SearchAndOffer({});
  auditor_ = nullptr;  // the call never ends
  EXPECT_THAT(AwaitAudits(0), IsEmpty());
}

}  // namespace
}  // namespace dime
