#include "model/batching_scorer.h"

#include <atomic>
#include <deque>
#include <limits>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_gallery.h"
#include "tests/fakes/fake_model.h"
#include "tests/fakes/gate.h"

namespace dime {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

// Texts against a bank of 40 images. The first launch waits at a gate, so that tests decide what is
// queued while it runs; every launch is recorded.
class BatchingScorerTest : public ::testing::Test {
 protected:
  static constexpr int kNumImages = 40;

  BatchingScorerTest()
      : gallery_({.num_images = kNumImages}),
        bank_(*scorer_.MakeBank(gallery_.features(Modality::kImage))),
        query_(*FakeCaptionEncoder().EncodeCaptions({"red star"})) {
    scorer_.on_launch = [this](absl::Span<const ScoringRequest> requests) {
      std::vector<int64_t> sizes;
      for (const ScoringRequest& request : requests) sizes.push_back(request.rows.size());
      bool first;
      {
        std::lock_guard<std::mutex> lock(mutex_);
        first = launches_.empty();
        launches_.push_back(sizes);
      }
      if (first) gate_.Pass();
      return fail_ ? fail_(requests) : absl::OkStatus();
    };
  }

  void Create(int64_t max_batch_pairs, int64_t max_queue_pairs = 1000) {
    batching_ = std::make_unique<BatchingScorer>(
        &scorer_,
        BatchingScorer::Options{.max_batch_pairs = max_batch_pairs,
                                .max_queue_pairs = max_queue_pairs,
                                .on_batch = [this](const BatchingScorer::BatchStats& stats) {
                                  std::lock_guard<std::mutex> lock(mutex_);
                                  stats_.push_back(stats);
                                }});
  }

  // A caller in a thread of its own.
  struct Caller {
    std::vector<int64_t> rows;
    ScoreMode mode = ScoreMode::kEnsemble;
    bool want_paths = false;
    CallContext context;
    absl::StatusOr<PairScores> answer = absl::UnknownError("not answered yet");
    std::thread thread;

    explicit Caller(std::vector<int64_t> rows, absl::Time deadline = absl::InfiniteFuture(),
                    Priority priority = Priority::kInteractive)
        : rows(std::move(rows)), context(deadline, priority) {}
    ~Caller() { Join(); }
    void Join() {
      if (thread.joinable()) thread.join();
    }
  };

  void Start(Caller& caller) {
    caller.thread = std::thread([this, &caller] {
      caller.answer = batching_->Score({.query = query_.view(),
                                        .bank = bank_.get(),
                                        .rows = caller.rows,
                                        .mode = caller.mode,
                                        .want_paths = caller.want_paths},
                                       caller.context);
    });
  }

  // Waits without sleeping until so many pairs are queued.
  void AwaitQueuedPairs(int64_t pairs) {
    while (batching_->queued_pairs() != pairs) std::this_thread::yield();
  }

  // Starts a caller of one pair and waits until its launch stands at the gate.
  void HoldFirstLaunch(Caller& caller) {
    Start(caller);
    gate_.AwaitArrivals(1);
  }

  void ExpectRightAnswer(const Caller& caller) {
    ASSERT_TRUE(caller.answer.ok()) << caller.answer.status();
    for (Direction direction : kDirections) {
      const int d = static_cast<int>(direction);
      const bool used = Uses(caller.mode, direction);
      ASSERT_THAT(caller.answer->scores[d], SizeIs(used ? caller.rows.size() : 0));
      ASSERT_THAT(caller.answer->paths[d],
                  SizeIs(used && caller.want_paths ? caller.rows.size() * kNumPathWeights : 0));
      for (size_t k = 0; used && k < caller.rows.size(); ++k) {
        const float score = FakeScore(gallery_.features(Modality::kImage), caller.rows[k],
                                      query_.view(), 0, direction);
        EXPECT_EQ(caller.answer->scores[d][k], score);
        for (int w = 0; caller.want_paths && w < kNumPathWeights; ++w) {
          EXPECT_EQ(caller.answer->paths[d][k * kNumPathWeights + w],
                    FakePathWeight(score, w, direction));
        }
      }
    }
  }

  static std::vector<int64_t> Rows(int64_t first, int64_t count) {
    std::vector<int64_t> rows(count);
    std::iota(rows.begin(), rows.end(), first);
    return rows;
  }

  // Eight threads with fifty requests each, of which some are larger than a batch.
  void ExpectManyCallersGetTheirOwn() {
    Create(/*max_batch_pairs=*/16, /*max_queue_pairs=*/100000);
    gate_.Open();
    std::atomic<int> right = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([this, t, &right] {
        for (int n = 0; n < 50; ++n) {
          const std::vector<int64_t> rows = Rows((t * 7 + n) % 20, 1 + (t + n * 3) % 20);
          const CallContext context;
          const absl::StatusOr<PairScores> answer = batching_->Score(
              {.query = query_.view(), .bank = bank_.get(), .rows = rows, .mode = ScoreMode::kI2t},
              context);
          bool same = answer.ok() && answer->scores[0].size() == rows.size();
          for (size_t k = 0; same && k < rows.size(); ++k) {
            same = answer->scores[0][k] == FakeScore(gallery_.features(Modality::kImage), rows[k],
                                                     query_.view(), 0, Direction::kI2t);
          }
          if (same) ++right;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(right, 8 * 50);
  }

  std::vector<std::vector<int64_t>> launches() {
    std::lock_guard<std::mutex> lock(mutex_);
    return launches_;
  }

  const FakeGallery gallery_;
  FakePairScorer scorer_;
  const std::unique_ptr<FeatureBank> bank_;
  const EncodedItems query_;
  Gate gate_;
  std::function<absl::Status(absl::Span<const ScoringRequest>)> fail_;
  std::mutex mutex_;
  std::vector<std::vector<int64_t>> launches_;  // rows of each request of each launch
  std::vector<BatchingScorer::BatchStats> stats_;
  std::unique_ptr<BatchingScorer> batching_;  // last, for its thread uses the others
};

TEST_F(BatchingScorerTest, ConcurrentCallersShareALaunch) {
  Create(/*max_batch_pairs=*/100);
  Caller first({0}), a(Rows(1, 5)), b(Rows(10, 7)), c({39, 3, 39});
  a.mode = ScoreMode::kI2t;
  b.mode = ScoreMode::kT2i;
  c.want_paths = true;
  HoldFirstLaunch(first);
  EXPECT_EQ(batching_->queued_pairs(), 0);
  for (Caller* caller : {&a, &b, &c}) Start(*caller);
  AwaitQueuedPairs(15);
  EXPECT_GT(batching_->oldest_wait(), absl::ZeroDuration());
  gate_.Open();
  for (Caller* caller : {&first, &a, &b, &c}) {
    caller->Join();
    ExpectRightAnswer(*caller);
  }
  EXPECT_THAT(launches(), ElementsAre(ElementsAre(1), UnorderedElementsAre(5, 7, 3)));
  EXPECT_EQ(batching_->queued_pairs(), 0);
  EXPECT_EQ(batching_->oldest_wait(), absl::ZeroDuration());
  ASSERT_THAT(stats_, SizeIs(2));
  EXPECT_EQ(stats_[1].pairs, 15);
  EXPECT_EQ(stats_[1].requests, 3);
  EXPECT_GT(stats_[1].queued, absl::ZeroDuration());
}

TEST_F(BatchingScorerTest, SplitsARequestLargerThanABatch) {
  Create(/*max_batch_pairs=*/8);
  gate_.Open();
  Caller caller(Rows(3, 30));
  caller.want_paths = true;
  Start(caller);
  caller.Join();
  ExpectRightAnswer(caller);
  EXPECT_THAT(launches(),
              ElementsAre(ElementsAre(8), ElementsAre(8), ElementsAre(8), ElementsAre(6)));
}

TEST_F(BatchingScorerTest, ALargeRequestDoesNotHoldUpSmallOnes) {
  Create(/*max_batch_pairs=*/8);
  Caller first({0}), large(Rows(0, 40)), small({5, 6}), other({7});
  HoldFirstLaunch(first);
  Start(large);
  AwaitQueuedPairs(40);
  Start(small);
  AwaitQueuedPairs(42);
  Start(other);
  AwaitQueuedPairs(43);
  gate_.Open();
  for (Caller* caller : {&large, &small, &other}) {
    caller->Join();
    ExpectRightAnswer(*caller);
  }
  // A turn is two pairs; those left over fall to the large one again.
  EXPECT_THAT(launches()[1], ElementsAre(5, 2, 1));
}

TEST_F(BatchingScorerTest, ATurnCutShortByAFullBatchGoesOnInTheNext) {
  Create(/*max_batch_pairs=*/8);
  Caller first({0}), a({1}), b({2, 3}), c({4, 5}), d({6, 7}), e({8, 9});
  HoldFirstLaunch(first);
  int64_t queued = 0;
  for (Caller* caller : {&a, &b, &c, &d, &e}) {
    Start(*caller);
    AwaitQueuedPairs(queued += caller->rows.size());
  }
  gate_.Open();
  for (Caller* caller : {&a, &b, &c, &d, &e}) {
    caller->Join();
    ExpectRightAnswer(*caller);
  }
  EXPECT_THAT(launches(), ElementsAre(ElementsAre(1), ElementsAre(1, 2, 2, 2, 1), ElementsAre(1)));
}

TEST_F(BatchingScorerTest, InteractiveGoesFirstAndBulkGetsItsPart) {
  Create(/*max_batch_pairs=*/16);
  Caller first({0}), bulk(Rows(0, 20), absl::InfiniteFuture(), Priority::kBulk), a(Rows(0, 30));
  HoldFirstLaunch(first);
  Start(bulk);
  AwaitQueuedPairs(20);
  Start(a);
  AwaitQueuedPairs(50);
  gate_.Open();
  for (Caller* caller : {&bulk, &a}) {
    caller->Join();
    ExpectRightAnswer(*caller);
  }
  // An eighth for bulk while there is other work, then all.
  EXPECT_THAT(launches(), ElementsAre(ElementsAre(1), ElementsAre(14, 2), ElementsAre(14, 2),
                                      ElementsAre(2, 14), ElementsAre(2)));
}

TEST_F(BatchingScorerTest, TellsHowManyPairsATimeAllows) {
  constexpr auto kUnbounded = std::numeric_limits<int64_t>::max();
  Create(/*max_batch_pairs=*/100);
  const auto within = [this](ScoreMode mode, absl::Duration time,
                             Priority priority = Priority::kInteractive) {
    return batching_->PairsWithin(mode, priority, time);
  };
  EXPECT_EQ(within(ScoreMode::kI2t, absl::Milliseconds(1)), kUnbounded) << "no rate is known";
  Caller first({0});
  HoldFirstLaunch(first);
  EXPECT_GT(batching_->launch_age(), absl::ZeroDuration());
  gate_.Open();
  first.Join();
  // The one launch so far tells the rate: two evaluations in the time that it stood at the gate.
  const double rate = batching_->cost_per_second();
  ASSERT_GT(rate, 0);
  EXPECT_EQ(within(ScoreMode::kI2t, absl::InfiniteDuration()), kUnbounded);
  EXPECT_EQ(within(ScoreMode::kI2t, absl::ZeroDuration()), 0);
  EXPECT_EQ(within(ScoreMode::kI2t, -absl::Seconds(1)), 0);
  EXPECT_NEAR(within(ScoreMode::kI2t, absl::Seconds(100 / rate)), 100, 1);
  EXPECT_NEAR(within(ScoreMode::kEnsemble, absl::Seconds(100 / rate)), 50, 1);
}

TEST_F(BatchingScorerTest, RefusesWhatTheQueueCannotHold) {
  Create(/*max_batch_pairs=*/8, /*max_queue_pairs=*/10);
  Caller first({0}), fits(Rows(0, 10)), refused({1});
  HoldFirstLaunch(first);
  Start(fits);
  AwaitQueuedPairs(10);
  Start(refused);
  refused.Join();
  EXPECT_EQ(refused.answer.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(refused.answer.status().message(), ::testing::HasSubstr("10 pairs wait"));
  gate_.Open();
  fits.Join();
  ExpectRightAnswer(fits);
}

TEST_F(BatchingScorerTest, AnEmptyQueueTakesARequestOfAnySize) {
  Create(/*max_batch_pairs=*/8, /*max_queue_pairs=*/10);
  gate_.Open();
  Caller caller(Rows(0, 40));
  Start(caller);
  caller.Join();
  ExpectRightAnswer(caller);
}

TEST_F(BatchingScorerTest, ADeadlineThatPassesInTheQueueCostsNoLaunch) {
  Create(/*max_batch_pairs=*/8);
  Caller first({0}), late({1, 2}, absl::Now() + absl::Milliseconds(20)), patient({3});
  HoldFirstLaunch(first);
  Start(late);
  // It is told at its deadline, though the launch before it still runs.
  late.Join();
  EXPECT_EQ(late.answer.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(batching_->queued_pairs(), 0);
  Start(patient);
  AwaitQueuedPairs(1);
  gate_.Open();
  patient.Join();
  ExpectRightAnswer(patient);
  EXPECT_THAT(launches(), ElementsAre(ElementsAre(1), ElementsAre(1)));
}

TEST_F(BatchingScorerTest, ACancelledRequestCostsNoLaunch) {
  Create(/*max_batch_pairs=*/8);
  Caller first({0}), cancelled({1, 2}), patient({3});
  HoldFirstLaunch(first);
  Start(cancelled);
  AwaitQueuedPairs(2);
  Start(patient);
  AwaitQueuedPairs(3);
  cancelled.context.Cancel();
  gate_.Open();
  cancelled.Join();
  EXPECT_EQ(cancelled.answer.status().code(), absl::StatusCode::kCancelled);
  patient.Join();
  ExpectRightAnswer(patient);
  EXPECT_THAT(launches(), ElementsAre(ElementsAre(1), ElementsAre(1)));
}

TEST_F(BatchingScorerTest, ARequestCancelledHalfwayCostsNoFurtherLaunch) {
  Create(/*max_batch_pairs=*/8);
  Caller large(Rows(0, 40));
  HoldFirstLaunch(large);
  large.context.Cancel();
  gate_.Open();
  large.Join();
  EXPECT_EQ(large.answer.status().code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(launches(), ElementsAre(ElementsAre(8)));
  EXPECT_EQ(batching_->queued_pairs(), 0);
}

TEST_F(BatchingScorerTest, AlreadyCancelledNeverQueues) {
  Create(/*max_batch_pairs=*/8);
  gate_.Open();
  Caller cancelled({1}), late({1}, absl::InfinitePast());
  cancelled.context.Cancel();
  for (Caller* caller : {&cancelled, &late}) {
    Start(*caller);
    caller->Join();
  }
  EXPECT_EQ(cancelled.answer.status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(late.answer.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(launches(), IsEmpty());
}

TEST_F(BatchingScorerTest, OneBadRequestCostsOneAnswer) {
  Create(/*max_batch_pairs=*/8);
  fail_ = [](absl::Span<const ScoringRequest> requests) {
    for (const ScoringRequest& request : requests) {
      for (int64_t row : request.rows) {
        if (row == 13) return absl::InternalError("row 13 is poisoned");
      }
    }
    return absl::OkStatus();
  };
  Caller first({0}), a({1, 2}), poisoned({12, 13}), b({3});
  HoldFirstLaunch(first);
  int64_t queued = 0;
  for (Caller* caller : {&a, &poisoned, &b}) {
    Start(*caller);
    AwaitQueuedPairs(queued += caller->rows.size());
  }
  gate_.Open();
  for (Caller* caller : {&first, &a, &b}) {
    caller->Join();
    ExpectRightAnswer(*caller);
  }
  poisoned.Join();
  EXPECT_EQ(poisoned.answer.status(), absl::InternalError("row 13 is poisoned"));

  // And the thread lives on.
  Caller next({4});
  Start(next);
  next.Join();
  ExpectRightAnswer(next);
}

TEST_F(BatchingScorerTest, AFailingBatchIsBisected) {
  Create(/*max_batch_pairs=*/64);
  fail_ = [](absl::Span<const ScoringRequest> requests) {
    for (const ScoringRequest& request : requests) {
      if (request.rows[0] == 13) return absl::InternalError("row 13 is poisoned");
    }
    return absl::OkStatus();
  };
  std::deque<Caller> callers;
  HoldFirstLaunch(callers.emplace_back(std::vector<int64_t>{0}));
  for (int64_t row = 1; row <= 16; ++row) {
    Start(callers.emplace_back(std::vector<int64_t>{row}));
    AwaitQueuedPairs(row);
  }
  gate_.Open();
  for (Caller& caller : callers) {
    caller.Join();
    if (caller.rows[0] == 13) {
      EXPECT_EQ(caller.answer.status(), absl::InternalError("row 13 is poisoned"));
    } else {
      ExpectRightAnswer(caller);
    }
  }
  // The first, the sixteen, and two for each halving, rather than one for each request.
  EXPECT_THAT(launches(), SizeIs(1 + 1 + 2 * 4));
}

TEST_F(BatchingScorerTest, AFailureHalfwayDropsTheRestOfItsRequest) {
  Create(/*max_batch_pairs=*/8);
  fail_ = [](absl::Span<const ScoringRequest> requests) {
    return requests[0].rows[0] == 8 ? absl::InternalError("second launch") : absl::OkStatus();
  };
  gate_.Open();
  Caller caller(Rows(0, 40));
  Start(caller);
  caller.Join();
  EXPECT_EQ(caller.answer.status(), absl::InternalError("second launch"));
  EXPECT_THAT(launches(), SizeIs(2));
  EXPECT_EQ(batching_->queued_pairs(), 0);
}

TEST_F(BatchingScorerTest, DestructionFailsWhatIsQueued) {
  Create(/*max_batch_pairs=*/8);
  Caller first({0}), queued({1, 2}), large(Rows(0, 30));
  HoldFirstLaunch(first);
  Start(queued);
  AwaitQueuedPairs(2);
  Start(large);
  AwaitQueuedPairs(32);
  std::thread destroyer([this] { batching_.reset(); });
  // Destruction waits for the launch at the gate; whether it has begun or not, that one is
  // answered.
  gate_.Open();
  destroyer.join();
  first.Join();
  ExpectRightAnswer(first);
  for (Caller* caller : {&queued, &large}) {
    caller->Join();
    if (caller->answer.ok()) {
      ExpectRightAnswer(*caller);
    } else {
      EXPECT_EQ(caller->answer.status().code(), absl::StatusCode::kUnavailable);
    }
  }
}

TEST_F(BatchingScorerTest, ManyCallersAllGetTheirOwnAnswers) { ExpectManyCallersGetTheirOwn(); }

TEST_F(BatchingScorerTest, ManyCallersAllGetTheirOwnAnswersWhereTheyLaunch) {
  scorer_.anywhere = true;
  ExpectManyCallersGetTheirOwn();
}

TEST_F(BatchingScorerTest, ACallerThatFindsNothingUnderWayLaunches) {
  scorer_.anywhere = true;
  std::vector<std::thread::id> threads;
  fail_ = [this, &threads](absl::Span<const ScoringRequest>) {
    std::lock_guard<std::mutex> lock(mutex_);
    threads.push_back(std::this_thread::get_id());
    return absl::OkStatus();
  };
  Create(/*max_batch_pairs=*/16);
  gate_.Open();
  Caller first(Rows(0, 3)), large(Rows(0, 17));
  Start(first);
  const std::thread::id own = first.thread.get_id();
  first.Join();
  ExpectRightAnswer(first);
  ASSERT_THAT(threads, ElementsAre(own));
  ASSERT_THAT(stats_, SizeIs(1));
  EXPECT_EQ(stats_[0].pairs, 3);
  // One that is split goes the other way, for others' turns are between its launches.
  Start(large);
  const std::thread::id of_large = large.thread.get_id();
  large.Join();
  ExpectRightAnswer(large);
  ASSERT_THAT(threads, SizeIs(3));  // the first may have had the same id: it is gone
  EXPECT_NE(threads[1], of_large);
  EXPECT_EQ(threads[2], threads[1]);
}

TEST_F(BatchingScorerTest, WhatComesWhileACallerLaunchesSharesTheNextLaunch) {
  scorer_.anywhere = true;
  Create(/*max_batch_pairs=*/16);
  Caller first(Rows(0, 1)), second(Rows(1, 2)), third(Rows(3, 4));
  HoldFirstLaunch(first);
  EXPECT_GT(batching_->launch_age(), absl::ZeroDuration());
  Start(second);
  AwaitQueuedPairs(2);
  Start(third);
  AwaitQueuedPairs(6);
  gate_.Open();
  for (Caller* caller : {&first, &second, &third}) {
    caller->Join();
    ExpectRightAnswer(*caller);
  }
  EXPECT_THAT(launches(), ElementsAre(ElementsAre(1), UnorderedElementsAre(2, 4)));
  EXPECT_EQ(batching_->launch_age(), absl::ZeroDuration());
}

TEST_F(BatchingScorerTest, DestructionWaitsForACallersLaunch) {
  scorer_.anywhere = true;
  Create(/*max_batch_pairs=*/16);
  Caller first(Rows(0, 1)), second(Rows(1, 1));
  HoldFirstLaunch(first);
  Start(second);
  AwaitQueuedPairs(1);
  std::thread destroyer([this] { batching_.reset(); });
  second.Join();  // it is told at once
  EXPECT_EQ(second.answer.status().code(), absl::StatusCode::kUnavailable);
  gate_.Open();
  destroyer.join();
  first.Join();
  ExpectRightAnswer(first);
}

TEST_F(BatchingScorerTest, NothingToScoreIsAnsweredAtOnce) {
  Create(/*max_batch_pairs=*/8);
  Caller caller({});
  Start(caller);
  caller.Join();
  ASSERT_TRUE(caller.answer.ok());
  EXPECT_THAT(caller.answer->scores, Each(IsEmpty()));
  EXPECT_THAT(launches(), IsEmpty());
}

TEST(PairScoresTest, CombinedIsTheMeanOrTheOneDirection) {
  PairScores scores;
  scores.scores[0] = {0.5f, -1.0f};
  EXPECT_THAT(scores.Combined(), ElementsAre(0.5f, -1.0f));
  scores.scores[1] = {0.25f, 0.5f};
  EXPECT_THAT(scores.Combined(), ElementsAre(0.375f, -0.25f));
  scores.scores[0].clear();
  EXPECT_THAT(scores.Combined(), ElementsAre(0.25f, 0.5f));
}

}  // namespace
}  // namespace dime
