#include "model/bounded_bank.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tests/fakes/fake_gallery.h"
#include "tests/fakes/fake_model.h"
#include "tests/fakes/gate.h"

namespace dime {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr auto kImage = Modality::kImage;

// A gallery whose features are read, one that tells of it and can fail.
class ReadGallery : public FakeGallery {
 public:
  using FakeGallery::FakeGallery;
  absl::StatusOr<EncodedItems> ReadFeatures(Modality modality,
                                            absl::Span<const int64_t> rows) const override {
    ++reads;
    rows_read += static_cast<int64_t>(rows.size());
    if (Gate* const through = gate) through->Pass();
    if (fails) return absl::DataLossError("a bad disk");
    return FakeGallery::ReadFeatures(modality, rows);
  }
  mutable std::atomic<int> reads{0};
  mutable std::atomic<int64_t> rows_read{0};
  std::atomic<bool> fails{false};
  std::atomic<Gate*> gate{nullptr};  // that reads go through
};

class BoundedBankTest : public testing::Test {
 protected:
  // What a leased row scores is what it scores in a bank of the whole gallery.
  void ExpectRightScores(const BoundedBank::Lease& lease, absl::Span<const int64_t> rows) {
    const EncodedItems query = *FakeCaptionEncoder().EncodeCaptions({"two big stars"});
    const ScoringRequest request{.query = query.view(),
                                 .bank = lease.bank(),
                                 .rows = lease.slots(),
                                 .mode = ScoreMode::kI2t};
    const auto scores = scorer_.Score(absl::MakeConstSpan(&request, 1));
    ASSERT_TRUE(scores.ok()) << scores.status();
    for (size_t i = 0; i < rows.size(); ++i) {
      EXPECT_EQ((*scores)[0].scores[0][i],
                FakeScore(gallery_.features(kImage), rows[i], query.view(), 0, Direction::kI2t));
    }
  }

  const FakePairScorer scorer_;
  ReadGallery gallery_{{.num_images = 20}};
  BoundedBank bank_{*scorer_.MakeSlabBank(gallery_.shape(kImage), 8)};
};

TEST_F(BoundedBankTest, ReadsWhatIsMissingAtOnceAndKeepsIt) {
  const std::vector<int64_t> rows = {5, 3, 5, 17};
  {
    const auto lease = bank_.Acquire(gallery_, rows);
    ASSERT_TRUE(lease.ok()) << lease.status();
    EXPECT_EQ(lease->slots()[0], lease->slots()[2]);
    ExpectRightScores(*lease, rows);
  }
  EXPECT_EQ(gallery_.reads, 1);
  EXPECT_EQ(gallery_.rows_read, 3);
  const auto again = bank_.Acquire(gallery_, {17, 4});
  ASSERT_TRUE(again.ok());
  ExpectRightScores(*again, {17, 4});
  EXPECT_EQ(gallery_.rows_read, 4);
  EXPECT_EQ(bank_.counts().hits, 1);
  EXPECT_EQ(bank_.counts().misses, 5);
}

TEST_F(BoundedBankTest, SlotsAreTakenInTurnAndWhatIsLeasedOrUsedAgainStays) {
  const auto held = bank_.Acquire(gallery_, {0, 1});
  ASSERT_TRUE(held.ok());
  for (int64_t row = 2; row < 8; ++row) ASSERT_TRUE(bank_.Acquire(gallery_, {row}).ok());
  ASSERT_TRUE(bank_.Acquire(gallery_, {2}).ok());  // so that 3 is the first to go
  ASSERT_TRUE(bank_.Acquire(gallery_, {8}).ok());
  const int64_t before = gallery_.rows_read;
  ASSERT_TRUE(bank_.Acquire(gallery_, {0, 1, 2, 4, 5, 6, 7, 8}).ok());
  EXPECT_EQ(gallery_.rows_read, before);
  ExpectRightScores(*held, {0, 1});
  ASSERT_TRUE(bank_.Acquire(gallery_, {3}).ok());
  EXPECT_EQ(gallery_.rows_read, before + 1);
}

TEST_F(BoundedBankTest, MoreThanThereIsRoomForIsRefusedAndHarmsNothing) {
  const auto held = bank_.Acquire(gallery_, {0, 1, 2});
  ASSERT_TRUE(held.ok());
  const auto refused = bank_.Acquire(gallery_, {1, 10, 11, 12, 13, 14, 15});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  const auto lease = bank_.Acquire(gallery_, {10, 11, 12, 13, 14});
  ASSERT_TRUE(lease.ok()) << lease.status();
  ExpectRightScores(*lease, {10, 11, 12, 13, 14});
  ExpectRightScores(*held, {0, 1, 2});
}

TEST_F(BoundedBankTest, AFailedReadIsToldAndForgotten) {
  gallery_.fails = true;
  EXPECT_THAT(std::string(bank_.Acquire(gallery_, {1, 2}).status().message()),
              HasSubstr("a bad disk"));
  gallery_.fails = false;
  const auto lease = bank_.Acquire(gallery_, {2, 1, 3, 4, 5, 6, 7, 8});
  ASSERT_TRUE(lease.ok()) << lease.status();
  ExpectRightScores(*lease, {2, 1, 3, 4, 5, 6, 7, 8});
}

TEST_F(BoundedBankTest, WhoWaitsForAReadThatFailsIsToldAndTheSlotIsFreeAgain) {
  Gate gate;
  gallery_.gate = &gate;
  gallery_.fails = true;
  absl::Status reader, waiter;
  std::thread reads([&] { reader = bank_.Acquire(gallery_, {7, 7}).status(); });
  gate.AwaitArrivals(1);
  std::thread waits([&] { waiter = bank_.Acquire(gallery_, {7}).status(); });
  while (bank_.counts().misses < 3) std::this_thread::yield();
  gate.Open();
  reads.join();
  waits.join();
  EXPECT_EQ(reader.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(waiter.code(), absl::StatusCode::kUnavailable);
  gallery_.gate = nullptr;
  gallery_.fails = false;
  const std::vector<int64_t> all = {0, 1, 2, 3, 4, 5, 6, 7};
  const auto lease = bank_.Acquire(gallery_, all);
  ASSERT_TRUE(lease.ok()) << lease.status();
  ExpectRightScores(*lease, all);
}

TEST_F(BoundedBankTest, WhatCameOnceGoesBeforeWhatCameAgain) {
  ASSERT_TRUE(bank_.Acquire(gallery_, {0, 1, 2, 3, 4, 5, 6, 7}).ok());
  ASSERT_TRUE(bank_.Acquire(gallery_, {0, 2, 4, 6}).ok());
  ASSERT_TRUE(bank_.Acquire(gallery_, {8, 9, 10, 11}).ok());
  const int64_t before = gallery_.rows_read;
  ASSERT_TRUE(bank_.Acquire(gallery_, {0, 2, 4, 6, 8, 9, 10, 11}).ok());
  EXPECT_EQ(gallery_.rows_read, before);
}

TEST_F(BoundedBankTest, ManyAtOnceGetTheirOwn) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (int n = 0; n < 300; ++n) {
        const std::vector<int64_t> rows = {(n * 7 + t) % 20, (n * 3 + 2 * t) % 20};
        const auto lease = bank_.Acquire(gallery_, rows);
        ASSERT_TRUE(lease.ok()) << lease.status();  // four times two fit
        ExpectRightScores(*lease, rows);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const BoundedBank::Counts counts = bank_.counts();
  EXPECT_EQ(counts.hits + counts.misses, 2400);
}

}  // namespace
}  // namespace dime
