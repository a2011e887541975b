#include "client/item_upserter.h"

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/gallery_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_gallery_server.h"
#include "tests/fakes/gate.h"

namespace dime {
namespace {

using ::testing::HasSubstr;

class ItemUpserterTest : public ::testing::Test {
 protected:
  // Writes the captions "0", "1", ... and gives the upsert's status; outcomes_ has the rest.
  absl::Status Upsert(int count) { return Upsert(count, server_.address()); }
  absl::Status Upsert(int count, const std::string& address) {
    RetrievalClient::Options client_options;
    client_options.address = address;
    const std::unique_ptr<RetrievalClient> client = *RetrievalClient::Create(client_options);
    const GalleryClient gallery(client.get());
    int next = 0;
    return ItemUpserter(&gallery, options_)
        .Upsert(
            [&]() -> absl::StatusOr<
                      std::optional<ItemUpserter::Numbered<v1::UpsertCaptionsRequest>>> {
              if (next == source_breaks_at_) return absl::InvalidArgumentError("line 7 is bad");
              if (next == count) return std::nullopt;
              ItemUpserter::Numbered<v1::UpsertCaptionsRequest> item{.number = next};
              item.request.mutable_caption()->set_id(absl::StrCat(next));
              item.request.mutable_caption()->set_text(text_);
              ++next;
              return item;
            },
            [this](int64_t number, const std::string& id, const v1::Outcome& outcome) {
              EXPECT_EQ(id, absl::StrCat(number));
              EXPECT_TRUE(outcomes_.emplace(number, outcome).second) << "settled twice: " << id;
              return settled_error_;
            });
  }
  static v1::Outcome Fail(grpc::StatusCode code) {
    v1::Outcome outcome;
    outcome.set_code(code);
    outcome.mutable_retry_delay()->set_nanos(1000000);
    return outcome;
  }

  Gate hung_;  // outlives the server's handlers
  FakeGalleryServer server_;
  ItemUpserter::Options options_ = {.patience = absl::Seconds(60),
                                    .reconnect_pause = absl::Milliseconds(1),
                                    .max_request_bytes = 1000};
  std::string text_ = "a red star";
  int source_breaks_at_ = -1;
  absl::Status settled_error_;
  std::map<int64_t, v1::Outcome> outcomes_;
};

TEST_F(ItemUpserterTest, EveryItemIsWrittenOnce) {
  EXPECT_TRUE(Upsert(100).ok());
  EXPECT_EQ(server_.captions().size(), 100u);
  EXPECT_EQ(server_.received(), 100);
  EXPECT_EQ(server_.streams(), 1);
  EXPECT_EQ(outcomes_.size(), 100u);
}

TEST_F(ItemUpserterTest, NothingToWriteIsNoError) { EXPECT_TRUE(Upsert(0).ok()); }

TEST_F(ItemUpserterTest, WhatHasNoRoomIsSentAgain) {
  server_.outcome = [](const std::string& id, int received) {
    return received < 20 && received % 2 == 0 ? Fail(grpc::StatusCode::RESOURCE_EXHAUSTED)
                                              : v1::Outcome();
  };
  EXPECT_TRUE(Upsert(30).ok());
  EXPECT_EQ(server_.captions().size(), 30u);
  EXPECT_EQ(server_.received(), 40);
  EXPECT_EQ(server_.streams(), 1);
  for (const auto& [number, outcome] : outcomes_) EXPECT_EQ(outcome.code(), 0);
}

// Or else an item that had to be sent again would take the place of a later one.
TEST_F(ItemUpserterTest, OfOneIdTheLastItemStays) {
  Gate second_was_asked;
  server_.outcome = [&](const std::string&, int received) {
    if (received > 0) return v1::Outcome();
    second_was_asked.Pass();
    return Fail(grpc::StatusCode::RESOURCE_EXHAUSTED);
  };
  RetrievalClient::Options client_options;
  client_options.address = server_.address();
  const std::unique_ptr<RetrievalClient> client = *RetrievalClient::Create(client_options);
  const GalleryClient gallery(client.get());
  int next = 0;
  std::vector<int64_t> settled;
  const absl::Status status =
      ItemUpserter(&gallery, options_)
          .Upsert(
              [&]() -> absl::StatusOr<
                        std::optional<ItemUpserter::Numbered<v1::UpsertCaptionsRequest>>> {
                if (next == 3) return std::nullopt;
                ItemUpserter::Numbered<v1::UpsertCaptionsRequest> item{.number = next};
                item.request.mutable_caption()->set_id("A");
                item.request.mutable_caption()->set_text(absl::StrCat("text ", next));
                if (next++ == 1) second_was_asked.Open();
                return item;
              },
              [&](int64_t number, const std::string&, const v1::Outcome&) {
                settled.push_back(number);
                return absl::OkStatus();
              });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(settled, testing::ElementsAre(0, 1, 2));
  EXPECT_EQ(server_.captions().at("A").caption().text(), "text 2");
}

TEST_F(ItemUpserterTest, WhatIsWrongIsReportedAndTheRestGoesOn) {
  server_.outcome = [](const std::string& id, int) {
    return id == "5" ? Fail(grpc::StatusCode::INVALID_ARGUMENT) : v1::Outcome();
  };
  EXPECT_TRUE(Upsert(10).ok());
  EXPECT_EQ(server_.captions().size(), 9u);
  EXPECT_EQ(outcomes_.at(5).code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(outcomes_.at(6).code(), 0);
}

TEST_F(ItemUpserterTest, ABrokenStreamIsTakenUpAgain) {
  server_.BreakAfter(17, {grpc::StatusCode::UNAVAILABLE, "gone"});
  EXPECT_TRUE(Upsert(50).ok());
  EXPECT_EQ(server_.captions().size(), 50u);
  EXPECT_EQ(server_.streams(), 2);
  EXPECT_EQ(outcomes_.size(), 50u);
}

TEST_F(ItemUpserterTest, SoIsOneThatAClosingServerEnds) {
  server_.DrainAfter(9);
  EXPECT_TRUE(Upsert(40).ok());
  EXPECT_EQ(server_.captions().size(), 40u);
  EXPECT_EQ(server_.streams(), 2);
}

TEST_F(ItemUpserterTest, OtherEndsAreErrors) {
  server_.BreakAfter(3, {grpc::StatusCode::FAILED_PRECONDITION, "read only"});
  const absl::Status status = Upsert(10);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(server_.streams(), 1);
}

TEST_F(ItemUpserterTest, PatienceEnds) {
  options_.patience = absl::Milliseconds(50);
  RetrievalClient::Options unreachable;
  unreachable.address = server_.address();
  server_.outcome = [](const std::string&, int) { return Fail(grpc::StatusCode::UNAVAILABLE); };
  const absl::Status status = Upsert(3);
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no result within 50ms"));
}

// What the server does not read fills the stream's window, and then a write waits.
TEST_F(ItemUpserterTest, PatienceEndsWhereTheServerReadsNoFurther) {
  options_.patience = absl::Milliseconds(500);
  options_.max_request_bytes = 2 << 20;
  text_ = std::string(1 << 20, 'x');
  server_.window = 64;
  server_.outcome = [this](const std::string&, int) {
    hung_.Pass();
    return v1::Outcome();
  };
  const absl::Status status = Upsert(64);
  hung_.Open();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no result within 500ms"));
  EXPECT_TRUE(outcomes_.empty());
}

TEST_F(ItemUpserterTest, PatienceEndsWhereTheServerNeitherAnswersNorEndsTheStream) {
  options_.patience = absl::Milliseconds(200);
  server_.DrainAfter(1);
  server_.hold_when_draining = [this] { hung_.Pass(); };
  const absl::Status status = Upsert(4);
  hung_.AwaitArrivals(1);
  hung_.Open();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_EQ(outcomes_.size(), 1u);
}

TEST_F(ItemUpserterTest, PatienceEndsWhereNoServerIs) {
  options_.patience = absl::Milliseconds(200);
  const std::string address = std::make_unique<FakeGalleryServer>()->address();
  EXPECT_EQ(Upsert(3, address).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(outcomes_.empty());
}

TEST_F(ItemUpserterTest, PatienceMayBeEndless) {
  options_.patience = absl::InfiniteDuration();
  EXPECT_TRUE(Upsert(20).ok());
  EXPECT_EQ(outcomes_.size(), 20u);
}

TEST_F(ItemUpserterTest, ItemsThatAreTooLargeAreNotSent) {
  text_ = std::string(2000, 'x');
  EXPECT_TRUE(Upsert(2).ok());
  EXPECT_EQ(server_.received(), 0);
  EXPECT_EQ(outcomes_.at(0).reason(), v1::ERROR_REASON_MESSAGE_TOO_LARGE);
  EXPECT_THAT(outcomes_.at(1).message(), HasSubstr("the server takes 1000"));
}

TEST_F(ItemUpserterTest, TheSourcesErrorComesAfterWhatIsOnItsWay) {
  source_breaks_at_ = 7;
  const absl::Status status = Upsert(20);
  EXPECT_EQ(status.message(), "line 7 is bad");
  EXPECT_EQ(outcomes_.size(), 7u);
  EXPECT_EQ(server_.captions().size(), 7u);
}

TEST_F(ItemUpserterTest, AnErrorInSettlingEndsIt) {
  settled_error_ = absl::InternalError("the disk is full");
  EXPECT_EQ(Upsert(1000).message(), "the disk is full");
  EXPECT_LT(server_.received(), 1000);
}

}  // namespace
}  // namespace dime
