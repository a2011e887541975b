#include "client/retrieval_client.h"

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/client_error.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"
#include "tests/client/fake_retrieval_server.h"

namespace dime {
namespace {

using ::google::protobuf::util::MessageDifferencer;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// Options that retry without pauses.
RetrievalClient::Options QuickOptions(const std::string& address) {
  RetrievalClient::Options options;
  options.address = address;
  options.retry.initial_backoff = absl::Milliseconds(1);
  options.retry.max_backoff = absl::Milliseconds(1);
  return options;
}

std::unique_ptr<RetrievalClient> MakeClient(const RetrievalClient::Options& options) {
  auto client = RetrievalClient::Create(options);
  EXPECT_TRUE(client.ok()) << client.status();
  return *std::move(client);
}

v1::SearchImagesRequest ImagesRequest(const std::string& text) {
  v1::SearchImagesRequest request;
  request.set_text(text);
  return request;
}

grpc::Status Draining() {
  return DetailedStatus(grpc::StatusCode::UNAVAILABLE, "the server is draining", "UNAVAILABLE");
}

grpc::Status QueueFull() {
  return DetailedStatus(grpc::StatusCode::RESOURCE_EXHAUSTED, "the queue is full", "QUEUE_FULL");
}

TEST(RetrievalClientTest, CarriesRequestsAndResponsesWhole) {
  FakeRetrievalServer server;
  const auto client = MakeClient(QuickOptions(server.address()));

  v1::SearchImagesRequest images = ImagesRequest("two dogs 两只狗");
  images.mutable_options()->set_top_k(3);
  images.mutable_options()->set_exact(true);
  v1::SearchImagesResponse images_response;
  images_response.add_hits()->set_id("scene-1");
  images_response.set_gallery_version("v1");
  server.AnswerImages(images_response);
  const auto found_images = client->SearchImages(images);
  ASSERT_TRUE(found_images.ok()) << found_images.status();
  EXPECT_TRUE(MessageDifferencer::Equals(*found_images, images_response));
  EXPECT_TRUE(MessageDifferencer::Equals(server.last_images_request(), images));

  v1::SearchCaptionsRequest captions;
  captions.mutable_features()->set_num_regions(1);
  captions.mutable_features()->set_feature_dim(2);
  captions.mutable_features()->add_values(0.5f);
  captions.mutable_features()->add_values(-1.0f);
  v1::SearchCaptionsResponse captions_response;
  captions_response.add_hits()->set_text("a dog");
  server.AnswerCaptions(captions_response);
  const auto found_captions = client->SearchCaptions(captions);
  ASSERT_TRUE(found_captions.ok()) << found_captions.status();
  EXPECT_TRUE(MessageDifferencer::Equals(*found_captions, captions_response));
  EXPECT_TRUE(MessageDifferencer::Equals(server.last_captions_request(), captions));

  v1::GetInfoResponse info;
  info.mutable_limits()->set_max_top_k(7);
  server.AnswerInfo(info);
  const auto found_info = client->GetInfo();
  ASSERT_TRUE(found_info.ok()) << found_info.status();
  EXPECT_TRUE(MessageDifferencer::Equals(*found_info, info));
}

TEST(RetrievalClientTest, SeveralSearchesInOneCall) {
  FakeRetrievalServer server;
  const auto client = MakeClient(QuickOptions(server.address()));
  v1::SearchImagesResponse images_response;
  images_response.add_hits()->set_id("scene-1");
  server.AnswerImages(images_response);
  v1::BatchSearchImagesRequest images;
  *images.add_requests() = ImagesRequest("one");
  *images.add_requests() = ImagesRequest("two");
  const auto found_images = client->BatchSearchImages(images);
  ASSERT_TRUE(found_images.ok()) << found_images.status();
  ASSERT_EQ(found_images->results_size(), 2);
  EXPECT_TRUE(MessageDifferencer::Equals(found_images->results(1).response(), images_response));
  EXPECT_EQ(server.last_images_request().text(), "two");

  v1::BatchSearchCaptionsRequest captions;
  captions.add_requests()->set_image_id("a");
  const auto found_captions = client->BatchSearchCaptions(captions);
  ASSERT_TRUE(found_captions.ok()) << found_captions.status();
  EXPECT_EQ(found_captions->results_size(), 1);

  images.mutable_requests(1)->set_text("\xff");
  const ClientError error = ClientError::FromStatus(client->BatchSearchImages(images).status());
  ASSERT_EQ(error.field_violations.size(), 1u);
  EXPECT_EQ(error.field_violations[0].field, "requests[1].text");
}

TEST(RetrievalClientTest, SaysWhoItIs) {
  FakeRetrievalServer server;
  ASSERT_TRUE(MakeClient(QuickOptions(server.address()))->GetInfo().ok());
  EXPECT_THAT(server.last_user_agent(), StartsWith(absl::StrCat("dime-client/", ClientVersion())));
}

TEST(RetrievalClientTest, TakesResponsesLargerThanGrpcsDefault) {
  FakeRetrievalServer server;
  v1::SearchImagesResponse response;
  response.add_hits()->set_uri(std::string(5 << 20, 'x'));
  server.AnswerImages(response);
  const auto found = MakeClient(QuickOptions(server.address()))->SearchImages(ImagesRequest("x"));
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->hits(0).uri().size(), 5u << 20);

  RetrievalClient::Options small = QuickOptions(server.address());
  small.max_response_bytes = 1 << 20;
  EXPECT_EQ(MakeClient(small)->SearchImages(ImagesRequest("x")).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(RetrievalClientTest, RetriesWhileTheServerIsUnavailableOrFull) {
  FakeRetrievalServer server;
  const auto client = MakeClient(QuickOptions(server.address()));
  server.FailNext(Draining());
  server.FailNext(QueueFull());
  server.FailNext(Draining());
  const auto found = client->SearchImages(ImagesRequest("x"));
  EXPECT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(server.calls(), 4);
}

TEST(RetrievalClientTest, GivesUpAfterMaxAttemptsWithTheServersError) {
  FakeRetrievalServer server;
  server.FailNext(Draining(), 10);
  const absl::Status status =
      MakeClient(QuickOptions(server.address()))->SearchImages(ImagesRequest("x")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(status.message(), "the server is draining");
  EXPECT_EQ(ClientError::FromStatus(status).reason, "UNAVAILABLE");
  EXPECT_EQ(server.calls(), 4);
}

TEST(RetrievalClientTest, RetriesCanBeTurnedOff) {
  FakeRetrievalServer server;
  server.FailNext(Draining());
  RetrievalClient::Options options = QuickOptions(server.address());
  options.retry.max_attempts = 1;
  EXPECT_TRUE(absl::IsUnavailable(MakeClient(options)->SearchImages(ImagesRequest("x")).status()));
  EXPECT_EQ(server.calls(), 1);
}

TEST(RetrievalClientTest, DoesNotRetryWhatCannotSucceed) {
  for (const grpc::StatusCode code :
       {grpc::StatusCode::INVALID_ARGUMENT, grpc::StatusCode::NOT_FOUND,
        grpc::StatusCode::FAILED_PRECONDITION, grpc::StatusCode::INTERNAL,
        grpc::StatusCode::DEADLINE_EXCEEDED}) {
    FakeRetrievalServer server;
    server.FailNext(DetailedStatus(code, "no", "INTERNAL"));
    const absl::Status status =
        MakeClient(QuickOptions(server.address()))->SearchImages(ImagesRequest("x")).status();
    EXPECT_EQ(static_cast<int>(status.code()), static_cast<int>(code));
    EXPECT_EQ(status.message(), "no");
    EXPECT_EQ(server.calls(), 1) << code;
  }
}

TEST(RetrievalClientTest, HonoursTheServersPushBack) {
  FakeRetrievalServer server;
  RetrievalClient::Options options = QuickOptions(server.address());
  // The server's word counts, not these.
  options.retry.initial_backoff = absl::Hours(1);
  options.retry.max_backoff = absl::Hours(1);
  const auto client = MakeClient(options);
  server.FailNext(QueueFull(), 1, "1");
  const auto found = client->SearchImages(ImagesRequest("x"));
  EXPECT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(server.calls(), 2);

  server.FailNext(QueueFull(), 1, "-1");  // do not try again
  EXPECT_TRUE(absl::IsResourceExhausted(client->SearchImages(ImagesRequest("x")).status()));
  EXPECT_EQ(server.calls(), 3);
}

TEST(RetrievalClientTest, DeadlineEndsASlowCall) {
  FakeRetrievalServer server;
  server.Hang();
  RetrievalClient::Options options = QuickOptions(server.address());
  options.deadline = absl::Milliseconds(100);
  const absl::Status status = MakeClient(options)->SearchImages(ImagesRequest("x")).status();
  EXPECT_EQ(status, absl::DeadlineExceededError(
                        absl::StrCat("no answer from ", server.address(), " within 100ms")));
}

TEST(RetrievalClientTest, ACallsOwnDeadlineGoesFirst) {
  FakeRetrievalServer server;
  RetrievalClient::Options options = QuickOptions(server.address());
  options.deadline = absl::InfiniteDuration();
  const auto client = MakeClient(options);
  ASSERT_TRUE(client->GetInfo().ok());
  server.Hang();
  EXPECT_TRUE(absl::IsDeadlineExceeded(client->GetInfo(absl::Milliseconds(50)).status()));
  EXPECT_TRUE(absl::IsDeadlineExceeded(client->GetInfo(absl::ZeroDuration()).status()));
}

TEST(RetrievalClientTest, NoServerIsUnavailableAtOnce) {
  const absl::Status status =
      MakeClient(QuickOptions(DeadAddress()))->SearchImages(ImagesRequest("x")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_FALSE(ClientError::FromStatus(status).has_reason());
  EXPECT_THAT(std::string(status.message()), HasSubstr("refused"));
}

TEST(RetrievalClientTest, TextThatIsNotUtf8IsRefusedHere) {
  FakeRetrievalServer server;
  const auto client = MakeClient(QuickOptions(server.address()));
  for (const std::string text : {"caf\xe9", "\xed\xa0\x80", "\xf0\x9f"}) {
    const ClientError error =
        ClientError::FromStatus(client->SearchImages(ImagesRequest(text)).status());
    EXPECT_EQ(error.code, absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(error.reason, "TEXT_NOT_UTF8");
    ASSERT_EQ(error.field_violations.size(), 1u);
    EXPECT_EQ(error.field_violations[0].field, "text");
  }
  v1::SearchCaptionsRequest captions;
  captions.set_image_id("\xff");
  const ClientError error = ClientError::FromStatus(client->SearchCaptions(captions).status());
  ASSERT_EQ(error.field_violations.size(), 1u);
  EXPECT_EQ(error.field_violations[0].field, "image_id");
  EXPECT_EQ(server.calls(), 0);
}

TEST(RetrievalClientTest, SpreadsCallsOverTheServers) {
  FakeRetrievalServer first;
  FakeRetrievalServer second;
  const auto client = MakeClient(
      QuickOptions(absl::StrCat("ipv4:127.0.0.1:", first.port(), ",127.0.0.1:", second.port())));
  // Until both are connected, calls go to the one that is.
  const absl::Time give_up = absl::Now() + absl::Seconds(10);
  while ((first.calls() == 0 || second.calls() == 0) && absl::Now() < give_up) {
    ASSERT_TRUE(client->GetInfo().ok());
  }
  const int first_before = first.calls();
  const int second_before = second.calls();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(client->GetInfo().ok());
  EXPECT_EQ(first.calls() - first_before, 5);
  EXPECT_EQ(second.calls() - second_before, 5);
}

TEST(RetrievalClientTest, GoesOnWithTheServersThatAreLeft) {
  FakeRetrievalServer alive;
  const std::string dead = DeadAddress();
  const auto client =
      MakeClient(QuickOptions(absl::StrCat("ipv4:", dead, ",127.0.0.1:", alive.port())));
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(client->GetInfo().ok());
  EXPECT_EQ(alive.calls(), 5);
}

TEST(RetrievalClientTest, LeavesOutServersThatAreNotHealthyIfAsked) {
  FakeRetrievalServer server;
  server.SetServing(false);
  RetrievalClient::Options options = QuickOptions(server.address());
  EXPECT_TRUE(MakeClient(options)->GetInfo().ok());
  options.check_health = true;
  EXPECT_TRUE(absl::IsUnavailable(MakeClient(options)->GetInfo().status()));
  server.SetServing(true);
  EXPECT_TRUE(MakeClient(options)->GetInfo().ok());
}

TEST(RetrievalClientTest, AmongSeveralServersThoseThatAreStoppingAreLeftOut) {
  FakeRetrievalServer stopping, serving;
  stopping.SetServing(false);
  RetrievalClient::Options options =
      QuickOptions(absl::StrCat("ipv4:127.0.0.1:", stopping.port(), ",127.0.0.1:", serving.port()));
  const auto client = MakeClient(options);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(client->GetInfo().ok());
  EXPECT_EQ(stopping.calls(), 0);
  EXPECT_EQ(serving.calls(), 5);
  serving.SetServing(false);
  options.check_health = false;
  EXPECT_TRUE(MakeClient(options)->GetInfo().ok());
}

TEST(RetrievalClientTest, WaitReadyWaitsForAServerThatIsStarting) {
  FakeRetrievalServer server;
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_nanos(1000000);
  // More failures than one call's retries.
  server.FailNext(DetailedStatus(grpc::StatusCode::UNAVAILABLE, "the server is starting",
                                 "UNAVAILABLE", {ToAny(retry)}),
                  9);
  const auto client = MakeClient(QuickOptions(server.address()));
  EXPECT_EQ(client->WaitReady(absl::Seconds(60)), absl::OkStatus());
  EXPECT_EQ(server.calls(), 10);
}

TEST(RetrievalClientTest, WaitReadyEndsWithTheReason) {
  const auto nobody = MakeClient(QuickOptions(DeadAddress()));
  const absl::Status status = nobody->WaitReady(absl::Milliseconds(100));
  EXPECT_EQ(status, absl::UnavailableError(absl::StrCat("failed to connect to ", nobody->address(),
                                                        ": no answer within 100ms")));

  FakeRetrievalServer server;
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(60);
  server.FailNext(
      DetailedStatus(grpc::StatusCode::UNAVAILABLE, "starting", "UNAVAILABLE", {ToAny(retry)}), 9);
  const auto client = MakeClient(QuickOptions(server.address()));
  EXPECT_EQ(client->WaitReady(absl::Seconds(5)).message(), "starting");

  FakeRetrievalServer broken;
  broken.FailNext(grpc::Status(grpc::StatusCode::INTERNAL, "broken"), 9);
  EXPECT_EQ(MakeClient(QuickOptions(broken.address()))->WaitReady(absl::Seconds(60)),
            absl::InternalError("broken"));
}

TEST(RetrievalClientTest, ThreadsShareAClient) {
  FakeRetrievalServer server;
  const auto client = MakeClient(QuickOptions(server.address()));
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&client] {
      for (int j = 0; j < 25; ++j) EXPECT_TRUE(client->SearchImages(ImagesRequest("x")).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(server.calls(), 100);
}

TEST(RetrievalClientTest, FillsInThePort) {
  const auto address = [](const std::string& given) {
    return MakeClient(QuickOptions(given))->address();
  };
  EXPECT_EQ(address("localhost"), "localhost:8980");
  EXPECT_EQ(address("localhost:1"), "localhost:1");
  EXPECT_EQ(address("[::1]"), "[::1]:8980");
  EXPECT_EQ(address("[::1]:1"), "[::1]:1");
  EXPECT_EQ(address("::1"), "[::1]:8980");
  EXPECT_EQ(address("dns:///gallery:1"), "dns:///gallery:1");
  EXPECT_EQ(address("unix:/run/dime.sock"), "unix:/run/dime.sock");
  EXPECT_EQ(address("ipv4:10.0.0.1:1,10.0.0.2:1"), "ipv4:10.0.0.1:1,10.0.0.2:1");
}

TEST(RetrievalClientTest, RefusesOptionsOutOfRange) {
  const auto refused = [](auto change) {
    RetrievalClient::Options options;
    change(options);
    return RetrievalClient::Create(options).status();
  };
  using Options = RetrievalClient::Options;
  EXPECT_THAT(std::string(refused([](Options& o) { o.address = ""; }).message()),
              HasSubstr("address"));
  EXPECT_THAT(std::string(refused([](Options& o) { o.deadline = absl::ZeroDuration(); }).message()),
              HasSubstr("deadline"));
  for (const int attempts : {0, 6, -1}) {
    EXPECT_THAT(
        std::string(refused([&](Options& o) { o.retry.max_attempts = attempts; }).message()),
        HasSubstr("max_attempts"));
  }
  EXPECT_THAT(std::string(refused([](Options& o) {
                            o.retry.max_backoff = absl::InfiniteDuration();
                          }).message()),
              HasSubstr("backoff"));
  EXPECT_THAT(std::string(refused([](Options& o) { o.max_response_bytes = 0; }).message()),
              HasSubstr("max_response_bytes"));
}

}  // namespace
}  // namespace dime
