#include "server/ingest_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/fakes/fake_gallery.h"
#include "tests/fakes/fake_model.h"
#include "tests/fakes/fake_mutable_gallery.h"
#include "tests/fakes/gate.h"

namespace dime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class IngestQueueTest : public testing::Test {
 protected:
  IngestQueueTest() {
    gallery_.on_write = [this](int64_t items) {
      {
        std::lock_guard<std::mutex> lock(mutex_);
        batches_.push_back(items);
      }
      if (hold_) gate_.Pass();
      return absl::OkStatus();
    };
  }
  ~IngestQueueTest() override { gate_.Open(); }

  void Start(IngestQueue::Options options) {
    queue_ = std::make_unique<IngestQueue>(&gallery_, &captions_, &images_, kFakeNumRegions,
                                           std::move(options));
  }
  bool SubmitImage(const std::string& id, std::vector<float> features) {
    ImageToWrite item = {.features = std::move(features)};
    item.record.id = id;
    return queue_->TrySubmit(std::move(item), Done(id));
  }
  bool SubmitCaption(const std::string& id, const std::string& text) {
    CaptionToWrite item;
    item.record.id = id;
    item.record.text = text;
    return queue_->TrySubmit(std::move(item), Done(id));
  }
  IngestQueue::Done Done(const std::string& id) {
    return [this, id](const absl::Status& status) {
      std::lock_guard<std::mutex> lock(mutex_);
      done_.emplace_back(id, status);
    };
  }

  FakeMutableGallery gallery_;
  FakeCaptionEncoder captions_;
  FakeImageEncoder images_;
  std::atomic<bool> hold_{false};
  Gate gate_;
  std::mutex mutex_;
  std::vector<int64_t> batches_;
  std::vector<std::pair<std::string, absl::Status>> done_;
  std::unique_ptr<IngestQueue> queue_;
};

TEST_F(IngestQueueTest, DestructionFinishesWhatWasTaken) {
  Start({});
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(SubmitImage(absl::StrCat(i), FakeRegionFeatures(i)));
    EXPECT_TRUE(SubmitCaption(absl::StrCat(i), "red star"));
  }
  queue_ = nullptr;
  EXPECT_EQ(done_.size(), 200u);
  for (const auto& [id, status] : done_) EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(gallery_.Pin()->size(Modality::kImage), 100);
  EXPECT_EQ(gallery_.Pin()->size(Modality::kCaption), 100);
}

TEST_F(IngestQueueTest, WhatWaitsIsWrittenAtOnceUpToABatch) {
  hold_ = true;
  std::vector<IngestQueue::BatchStats> stats;
  Start({.max_batch_captions = 4,
         .on_batch = [&stats](const IngestQueue::BatchStats& batch) { stats.push_back(batch); }});
  SubmitCaption("first", "red");
  gate_.AwaitArrivals(1);
  for (int i = 0; i < 6; ++i) SubmitCaption(absl::StrCat(i), "red star");
  EXPECT_EQ(queue_->size().items, 7);
  hold_ = false;
  gate_.Open();
  queue_ = nullptr;
  EXPECT_THAT(batches_, ElementsAre(1, 4, 2));
  ASSERT_EQ(stats.size(), 3u);
  EXPECT_EQ(stats[1].items, 4);
  EXPECT_EQ(stats[1].written, 4);
  EXPECT_EQ(stats[1].modality, Modality::kCaption);
}

TEST_F(IngestQueueTest, AnIdThatComesAgainWaitsForTheNextBatch) {
  hold_ = true;
  Start({});
  SubmitCaption("first", "red");
  gate_.AwaitArrivals(1);
  SubmitCaption("a", "one");
  SubmitCaption("b", "two");
  SubmitCaption("a", "three");
  SubmitCaption("c", "four");
  hold_ = false;
  gate_.Open();
  queue_ = nullptr;
  EXPECT_THAT(batches_, ElementsAre(1, 2, 2));
  const auto view = gallery_.Pin();
  EXPECT_EQ(view->ReadCaption(*view->FindRow(Modality::kCaption, "a"))->text, "three");
}

TEST_F(IngestQueueTest, OneBadItemCostsOneError) {
  hold_ = true;
  Start({});
  SubmitImage("first", FakeRegionFeatures(1));
  gate_.AwaitArrivals(1);
  SubmitImage("a", FakeRegionFeatures(2));
  SubmitImage("huge", std::vector<float>(kFakeNumRegions * kFakeFeatureDim, 3e38f));
  SubmitImage("refused", FakeRegionFeatures(3));
  SubmitImage("b", FakeRegionFeatures(4));
  hold_ = false;
  gate_.Open();
  queue_ = nullptr;
  const std::map<std::string, absl::Status> done(done_.begin(), done_.end());
  EXPECT_TRUE(done.at("a").ok());
  EXPECT_TRUE(done.at("b").ok());
  EXPECT_EQ(done.at("huge").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(done.at("huge").message()), HasSubstr("not finite"));
  EXPECT_EQ(done.at("refused").code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(IngestQueueTest, AFullQueueTakesNothing) {
  hold_ = true;
  Start({.max_queued_bytes = 3000});
  EXPECT_TRUE(SubmitCaption("a", "red"));
  gate_.AwaitArrivals(1);
  EXPECT_TRUE(SubmitCaption("b", "red"));
  EXPECT_FALSE(SubmitCaption("c", "red"));
  EXPECT_FALSE(SubmitImage("c", FakeRegionFeatures(1)));
  EXPECT_EQ(queue_->size().items, 2);
  hold_ = false;
  gate_.Open();
  queue_ = nullptr;
  EXPECT_EQ(done_.size(), 2u);
}

TEST_F(IngestQueueTest, AnEmptyQueueTakesAnyItem) {
  Start({.max_queued_bytes = 1});
  EXPECT_TRUE(SubmitImage("a", FakeRegionFeatures(1)));
  queue_ = nullptr;
  EXPECT_EQ(gallery_.Pin()->size(Modality::kImage), 1);
}

TEST_F(IngestQueueTest, TheGallerysErrorIsEveryItems) {
  gallery_.on_write = [](int64_t) { return absl::ResourceExhaustedError("disk full"); };
  Start({});
  SubmitCaption("a", "red");
  SubmitImage("b", FakeRegionFeatures(1));
  queue_ = nullptr;
  ASSERT_EQ(done_.size(), 2u);
  for (const auto& [id, status] : done_) {
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  }
}

}  // namespace
}  // namespace dime
