#include "server/server.h"

#include <sched.h>
#include <sys/resource.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpcpp/client_context.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/slice.h"
#include "gtest/gtest.h"
#include "tests/fakes/error_details.h"
#include "tests/server/server_fixture.h"

namespace dime {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

class ServerTest : public ServerFixture {
 protected:
  // The services that reflection lists, as the bytes of its answer; empty if there is none.
  std::string ListServices() {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const auto stream = stub.PrepareCall(
        &context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
    // Each step of the stream ends with one event.
    const auto await = [&queue] {
      void* tag;
      bool ok = false;
      return queue.Next(&tag, &ok) && ok;
    };
    stream->StartCall(nullptr);
    bool ok = await();
    const grpc::Slice request(
        "\x3a\x01*");  // ServerReflectionRequest { string list_services = 7; }
    if (ok) {
      stream->Write(grpc::ByteBuffer(&request, 1), nullptr);
      ok = await();
    }
    grpc::ByteBuffer response;
    if (ok) {
      stream->Read(&response, nullptr);
      ok = await();
    }
    std::string listed;
    grpc::Slice whole;
    if (ok && response.DumpToSingleSlice(&whole).ok()) {
      listed.assign(reinterpret_cast<const char*>(whole.begin()), whole.size());
    }
    context.TryCancel();
    grpc::Status status;
    stream->Finish(&status, nullptr);
    await();
    queue.Shutdown();
    return listed;
  }
};

// A model and a gallery of `images` images, as a reload is given them.
ServingRevision::Source SourceOf(int images) {
  return {.model = std::make_unique<FakeModel>(),
          .gallery = std::make_unique<FakeGallery>(
              FakeGallery::Contents{.num_images = images, .captions = FakeCaptions(5)})};
}

// What the source's model is to compute, where one score is off by `error`.
ReferencePairs ReferenceOf(const ServingRevision::Source& source, float error) {
  ReferencePairs reference =
      *ReferencePairs::Make(*source.model, source.model->pair_scorer(), 1, 4, {"red", "blue star"});
  reference.scores[0][0] += error;
  return reference;
}

TEST_F(ServerTest, IsHealthyOnceItIsWarm) {
  Start();
  EXPECT_EQ(Health(""), 1);
  EXPECT_EQ(Health("dime.v1.RetrievalService"), 1);
  EXPECT_EQ(Health("no.such.Service"), -1);
  EXPECT_THAT(server_->address(), Not(EndsWith(":0")));
}

TEST_F(ServerTest, AModelThatCannotScoreNeverGetsHealthy) {
  model_->fake_scorer().on_launch = [](absl::Span<const ScoringRequest>) {
    return absl::InternalError("no kernel for this device");
  };
  EXPECT_THAT(TryStart(options_).status().message(), HasSubstr("no kernel for this device"));
}

TEST_F(ServerTest, AModelThatComputesSomethingElseHereNeverGetsHealthy) {
  ServingRevision::Source source = SourceOf(12);
  source.reference = ReferenceOf(source, /*error=*/1.5f);
  auto server = Server::Create(options_, std::move(source));
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_THAT((*server)->Start().message(), HasSubstr("does not compute here what it did"));
}

TEST_F(ServerTest, ALaunchThatHangsIsSeen) {
  options_.metrics_address = "127.0.0.1:0";
  options_.longest_launch = absl::Milliseconds(20);
  options_.watchdog_period = absl::Milliseconds(1);
  Start();
  EXPECT_EQ(Health(kLivenessService), 1);
  hold_launches_ = true;
  std::thread caller([&] {
    grpc::ClientContext context;
    v1::SearchImagesResponse response;
    stub_->SearchImages(&context, TextRequest("red"), &response);
  });
  gate_.AwaitArrivals(1);
  AwaitMetric("dime_launch_stalled 1\n");
  EXPECT_EQ(Health(kLivenessService), 2);
  EXPECT_EQ(Health("dime.v1.RetrievalService"), 2);
  gate_.Open();
  caller.join();
  AwaitMetric("dime_launch_stalled 0\n");
  EXPECT_EQ(Health(kLivenessService), 1);
  EXPECT_EQ(Health("dime.v1.RetrievalService"), 1);
}

TEST_F(ServerTest, ReflectionListsTheService) {
  Start();
  EXPECT_THAT(ListServices(),
              AllOf(HasSubstr("dime.v1.RetrievalService"), HasSubstr("grpc.health.v1.Health")));
}

TEST_F(ServerTest, ReflectionCanBeTurnedOff) {
  options_.reflection = false;
  Start();
  EXPECT_EQ(ListServices(), "");
  EXPECT_EQ(Health(""), 1);
}

TEST_F(ServerTest, MetricsStartAtZeroAndCount) {
  options_.metrics_address = "127.0.0.1:0";
  Start();
  const std::string before = Scrape();
  EXPECT_THAT(
      before,
      AllOf(HasSubstr("dime_requests_total{code=\"OK\",method=\"SearchImages\"} 0\n"),
            HasSubstr("dime_requests_total{code=\"NOT_FOUND\",method=\"SearchCaptions\"} 0\n"),
            HasSubstr("dime_batch_pairs_count 0\n"),  // warming up does not count
            HasSubstr("dime_build_info{version=\"1.2.3\"} 1\n")));

  grpc::ClientContext context, bad_context, info_context;
  v1::SearchImagesResponse response;
  v1::GetInfoResponse info;
  v1::SearchImagesRequest request = TextRequest("red star");
  request.mutable_options()->set_rerank_depth(12);
  request.mutable_options()->set_score_mode(v1::SCORE_MODE_I2T);
  ASSERT_TRUE(stub_->SearchImages(&context, request, &response).ok());
  EXPECT_FALSE(stub_->SearchImages(&bad_context, TextRequest(""), &response).ok());
  ASSERT_TRUE(stub_->GetInfo(&info_context, {}, &info).ok());

  EXPECT_THAT(
      Scrape(),
      AllOf(HasSubstr("dime_requests_total{code=\"OK\",method=\"SearchImages\"} 1\n"),
            HasSubstr("dime_requests_total{code=\"INVALID_ARGUMENT\",method=\"SearchImages\"} 1\n"),
            HasSubstr("dime_requests_total{code=\"OK\",method=\"GetInfo\"} 1\n"),
            HasSubstr("dime_stage_duration_seconds_count{method=\"SearchImages\",stage=\"rerank\"} "
                      "1\n"),
            HasSubstr("dime_coarse_candidates_sum{method=\"SearchImages\"} 12\n"),
            HasSubstr("dime_rerank_pairs_total{direction=\"i2t\"} 12\n"),
            HasSubstr("dime_rerank_pairs_total{direction=\"t2i\"} 0\n"),
            HasSubstr("dime_batch_pairs_sum 12\n"), HasSubstr("dime_batch_requests_count 1\n")));
}

TEST_F(ServerTest, ASecondServerOnThePortIsRefused) {
  Start();
  Server::Options second = options_;
  second.address = server_->address();
  const auto refused = TryStart(second);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(refused.status().message(),
              AllOf(HasSubstr(server_->address()), HasSubstr("in use")));
}

TEST_F(ServerTest, ATakenMetricsPortIsRefused) {
  options_.metrics_address = "127.0.0.1:0";
  Start();
  Server::Options second = options_;
  second.metrics_address = server_->metrics_address();
  const auto refused = TryStart(second);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(refused.status().message(),
              AllOf(HasSubstr(server_->metrics_address()), HasSubstr("in use")));
}

TEST_F(ServerTest, AnAddressThatIsNoneIsRefused) {
  options_.address = "nowhere";
  EXPECT_EQ(TryStart(options_).status().code(), absl::StatusCode::kUnavailable);
  options_.address = "127.0.0.1:0";
  options_.metrics_address = "nowhere:x";
  EXPECT_EQ(TryStart(options_).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ServerTest, OptionsMustMakeSense) {
  options_.limits.max_rerank_depth = 10;
  EXPECT_THAT(TryStart(options_).status().message(), HasSubstr("max_rerank_depth (10)"));
  options_.limits = SearchLimits();
  options_.workers.threads = 0;
  EXPECT_THAT(TryStart(options_).status().message(), HasSubstr("workers must be at least 1"));
  options_.workers.threads = 1;
  options_.audit.rate = 1.5;
  EXPECT_THAT(TryStart(options_).status().message(), HasSubstr("audit rate must be 0 to 1"));
}

TEST_F(ServerTest, AnotherModelsGalleryIsRefused) {
  model_->mutable_info().fingerprint = "another";
  EXPECT_EQ(TryStart(options_).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(ServerTest, ShutdownLetsCallsFinishAndRefusesNewOnes) {
  Start();
  hold_launches_ = true;
  v1::SearchImagesResponse response;
  grpc::Status running;
  std::thread caller([&] {
    grpc::ClientContext context;
    running = stub_->SearchImages(&context, TextRequest("red"), &response);
  });
  gate_.AwaitArrivals(1);
  std::thread shutdown([this] { server_->Shutdown(absl::InfiniteDuration()); });

  // First unhealthy, then closed to new calls, while the old one still runs.
  while (Health("dime.v1.RetrievalService") == 1) std::this_thread::yield();
  EXPECT_EQ(Health(""), 2);
  grpc::Status refused;
  do {
    grpc::ClientContext context;
    v1::GetInfoResponse info;
    refused = stub_->GetInfo(&context, {}, &info);
  } while (refused.ok());
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ParseErrorDetails(refused).reason, "UNAVAILABLE");
  EXPECT_TRUE(ParseErrorDetails(refused).retry_delay_ms.has_value());

  gate_.Open();
  caller.join();
  EXPECT_TRUE(running.ok()) << running.error_message();
  EXPECT_EQ(response.hits_size(), 10);
  shutdown.join();
  grpc::ClientContext context;
  v1::GetInfoResponse info;
  EXPECT_EQ(stub_->GetInfo(&context, {}, &info).error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(ServerTest, ReloadServesTheNewGalleryWhileOldCallsFinishOnTheirs) {
  options_.metrics_address = "127.0.0.1:0";
  Start();
  hold_launches_ = true;
  v1::SearchImagesResponse before, after;
  grpc::Status running;
  std::thread caller([&] {
    grpc::ClientContext context;
    v1::SearchImagesRequest request = TextRequest("red");
    request.mutable_options()->set_top_k(kServedImages);
    running = stub_->SearchImages(&context, request, &before);
  });
  gate_.AwaitArrivals(1);
  absl::Status reloaded;
  std::thread reload([&] { reloaded = server_->Reload(SourceOf(12)); });

  // The new one answers while the old one's call is still held.
  v1::GetInfoResponse info;
  do {
    grpc::ClientContext context;
    ASSERT_TRUE(stub_->GetInfo(&context, {}, &info).ok());
  } while (info.gallery().image_count() != 12);
  EXPECT_EQ(Health(""), 1);
  grpc::ClientContext context;
  v1::SearchImagesRequest request = TextRequest("red");
  request.mutable_options()->set_top_k(kServedImages);
  ASSERT_TRUE(stub_->SearchImages(&context, request, &after).ok());
  EXPECT_EQ(after.hits_size(), 12);
  EXPECT_THAT(Scrape(), HasSubstr("dime_gallery_items{modality=\"image\"} 12\n"));

  gate_.Open();
  caller.join();
  reload.join();
  EXPECT_TRUE(reloaded.ok()) << reloaded;
  EXPECT_TRUE(running.ok()) << running.error_message();
  EXPECT_EQ(before.hits_size(), kServedImages);
}

TEST_F(ServerTest, AReloadThatFailsChangesNothing) {
  options_.metrics_address = "127.0.0.1:0";
  Start();
  auto broken = std::make_unique<FakeModel>();
  broken->fake_scorer().on_launch = [](absl::Span<const ScoringRequest>) {
    return absl::InternalError("no kernel for this device");
  };
  ServingRevision::Source source = SourceOf(12);
  source.model = std::move(broken);
  EXPECT_THAT(server_->Reload(std::move(source)).message(), HasSubstr("no kernel"));
  auto another = std::make_unique<FakeModel>();
  another->mutable_info().fingerprint = "another";
  source = SourceOf(12);
  source.model = std::move(another);
  EXPECT_EQ(server_->Reload(std::move(source)).code(), absl::StatusCode::kFailedPrecondition);
  source = SourceOf(12);
  source.reference = ReferenceOf(source, /*error=*/1.5f);
  EXPECT_THAT(server_->Reload(std::move(source)).message(), HasSubstr("does not compute here"));
  EXPECT_THAT(Scrape(), HasSubstr("dime_model_parity_max_abs_error Nan\n"));

  grpc::ClientContext context;
  v1::SearchImagesResponse response;
  ASSERT_TRUE(stub_->SearchImages(&context, TextRequest("red"), &response).ok());
  EXPECT_EQ(server_->revision()->gallery().Pin()->size(Modality::kImage), kServedImages);
}

TEST_F(ServerTest, AShadowIsComparedAndNotCounted) {
  options_.metrics_address = "127.0.0.1:0";
  options_.shadow.rate = 1;
  ServingRevision::Source live = SourceOf(kServedImages);
  auto created = Server::Create(options_, std::move(live),
                                std::make_unique<ServingRevision::Source>(SourceOf(kServedImages)));
  ASSERT_TRUE(created.ok()) << created.status();
  server_ = *std::move(created);
  ASSERT_TRUE(server_->Start().ok());
  const auto stub = v1::RetrievalService::NewStub(
      grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  v1::SearchImagesResponse response;
  ASSERT_TRUE(stub->SearchImages(&context, TextRequest("red star"), &response).ok());
  AwaitMetric("dime_shadow_samples_total{method=\"SearchImages\"} 1\n");
  EXPECT_THAT(Scrape(),
              AllOf(HasSubstr("dime_shadow_top1_same_total{method=\"SearchImages\"} 1\n"),
                    HasSubstr("dime_shadow_overlap_ratio_sum{method=\"SearchImages\"} 1\n"),
                    HasSubstr("dime_shadow_model_info{fingerprint=\"fake-fingerprint\""),
                    HasSubstr("dime_batch_requests_count 1\n")));
}

TEST_F(ServerTest, TotalsGoOnOverReloads) {
  options_.metrics_address = "127.0.0.1:0";
  Start();
  for (int n = 0; n < 3; ++n) {
    grpc::ClientContext context;
    v1::SearchImagesResponse response;
    v1::SearchImagesRequest request = TextRequest("red");
    request.mutable_options()->set_rerank_depth(10);
    ASSERT_TRUE(stub_->SearchImages(&context, request, &response).ok());
    ASSERT_TRUE(server_->Reload(SourceOf(12)).ok());
  }
  EXPECT_THAT(Scrape(), HasSubstr("dime_batch_pairs_sum 30\n"));
  // Of what a revision counts itself nothing is lost either, though nobody looked before its end:
  // three texts to warm up with, and the one searched by.
  EXPECT_THAT(Scrape(), HasSubstr("dime_query_cache_total{outcome=\"miss\"} 15\n"));
}

TEST_F(ServerTest, LoneCallsOfTwoServersLeaveGrpcAThread) {
  Start();
  auto model = std::make_unique<FakeModel>();
  model->fake_scorer().on_launch = model_->fake_scorer().on_launch;
  owned_model_ = std::move(model);
  const absl::StatusOr<std::unique_ptr<Server>> other = TryStart(options_);
  ASSERT_TRUE(other.ok()) << other.status();
  const auto other_stub = v1::RetrievalService::NewStub(
      grpc::CreateChannel((*other)->address(), grpc::InsecureChannelCredentials()));
  hold_launches_ = true;
  std::vector<std::thread> callers;
  for (v1::RetrievalService::Stub* stub : {stub_.get(), other_stub.get()}) {
    callers.emplace_back([stub] {
      grpc::ClientContext context;
      v1::SearchImagesResponse response;
      EXPECT_TRUE(stub->SearchImages(&context, TextRequest("red"), &response).ok());
    });
    gate_.AwaitArrivals(static_cast<int>(callers.size()));
  }
  EXPECT_EQ(Health(""), 1);  // would hang if each kept one of two threads
  gate_.Open();
  for (std::thread& caller : callers) caller.join();
}

TEST_F(ServerTest, ShutdownCancelsWhatDoesNotFinishInTime) {
  Start();
  hold_launches_ = true;
  grpc::Status running;
  std::thread caller([&] {
    grpc::ClientContext context;
    v1::SearchImagesResponse response;
    running = stub_->SearchImages(&context, TextRequest("red"), &response);
  });
  gate_.AwaitArrivals(1);
  std::thread shutdown([this] { server_->Shutdown(absl::Milliseconds(20)); });
  caller.join();  // told before its launch is over
  EXPECT_FALSE(running.ok());
  gate_.Open();
  shutdown.join();
}

TEST_F(ServerTest, AnAuditHoldsUpNeitherSearchesNorShutdown) {
  options_.metrics_address = "127.0.0.1:0";
  options_.audit.rate = 1;
  // The audit's launches are those at the lowest priority.
  model_->fake_scorer().on_launch = [this](absl::Span<const ScoringRequest>) {
    if (sched_getscheduler(0) == SCHED_IDLE || getpriority(PRIO_PROCESS, 0) == 19) gate_.Pass();
    return absl::OkStatus();
  };
  Start();
  v1::SearchImagesResponse response;
  for (int n = 0; n < 8; ++n) {
    grpc::ClientContext context;
    ASSERT_TRUE(stub_->SearchImages(&context, TextRequest("red"), &response).ok());
    if (n == 0) gate_.AwaitArrivals(1);  // the first one's audit is stuck from here on
  }
  // Four samples wait, the other three found no room.
  EXPECT_THAT(Scrape(), HasSubstr("dime_recall_audit_dropped_total{method=\"SearchImages\",reason="
                                  "\"queue_full\"} 3\n"));
  server_->Shutdown(absl::InfiniteDuration());
  gate_.Open();
  server_ = nullptr;
}

TEST_F(ServerTest, ShutdownDoesNotWaitForHealthWatchers) {
  Start();
  grpc::GenericStub stub(channel_);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto stream = stub.PrepareCall(&context, "/grpc.health.v1.Health/Watch", &queue);
  void* tag;
  bool ok = false;
  stream->StartCall(nullptr);
  queue.Next(&tag, &ok);
  const grpc::Slice empty("");
  stream->WriteLast(grpc::ByteBuffer(&empty, 1), grpc::WriteOptions(), nullptr);
  queue.Next(&tag, &ok);
  grpc::ByteBuffer update;
  stream->Read(&update, nullptr);
  queue.Next(&tag, &ok);
  ASSERT_TRUE(ok);  // it is being watched

  server_->Shutdown(absl::Hours(1));
  context.TryCancel();
  grpc::Status status;
  stream->Finish(&status, nullptr);
  queue.Next(&tag, &ok);
  queue.Shutdown();
}

}  // namespace
}  // namespace dime
