// Searches over real gRPC, by the fakes: answers and every kind of error.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "grpcpp/client_context.h"
#include "gtest/gtest.h"
#include "tests/fakes/error_details.h"
#include "tests/server/server_fixture.h"

namespace dime {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ServerSearchTest : public ServerFixture {
 protected:
  grpc::Status SearchImages(const v1::SearchImagesRequest& request,
                            v1::SearchImagesResponse* response,
                            absl::Time deadline = absl::InfiniteFuture()) {
    grpc::ClientContext context;
    if (deadline != absl::InfiniteFuture()) context.set_deadline(absl::ToChronoTime(deadline));
    return stub_->SearchImages(&context, request, response);
  }
  grpc::Status SearchCaptions(const v1::SearchCaptionsRequest& request,
                              v1::SearchCaptionsResponse* response) {
    grpc::ClientContext context;
    return stub_->SearchCaptions(&context, request, response);
  }

  static v1::SearchCaptionsRequest FeaturesRequest(const std::vector<float>& values) {
    v1::SearchCaptionsRequest request;
    request.mutable_features()->set_num_regions(kFakeNumRegions);
    request.mutable_features()->set_feature_dim(kFakeFeatureDim);
    request.mutable_features()->mutable_values()->Add(values.begin(), values.end());
    return request;
  }
};

TEST_F(ServerSearchTest, TextFindsTheBestOfAllImages) {
  Start();
  v1::SearchImagesRequest request = TextRequest("two big star");
  request.mutable_options()->set_exact(true);
  request.mutable_options()->set_top_k(kServedImages);
  request.mutable_options()->set_score_mode(v1::SCORE_MODE_T2I);
  v1::SearchImagesResponse response;
  const grpc::Status status = SearchImages(request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();

  const EncodedItems query = *FakeCaptionEncoder().EncodeCaptions({"two big star"});
  const EncodedItemsView images =
      *server_->revision()->gallery().Pin()->whole_features(Modality::kImage);
  std::vector<std::pair<float, std::string>> expected;
  for (int64_t row = 0; row < kServedImages; ++row) {
    expected.emplace_back(-FakeScore(images, row, query.view(), 0, Direction::kT2i),
                          server_->revision()->gallery().Pin()->ReadImage(row)->id);
  }
  std::sort(expected.begin(), expected.end());
  ASSERT_EQ(response.hits_size(), kServedImages);
  for (int k = 0; k < kServedImages; ++k) {
    EXPECT_EQ(response.hits(k).id(), expected[k].second);
    EXPECT_EQ(response.hits(k).score(), -expected[k].first);
    EXPECT_FALSE(response.hits(k).has_details());
  }
  EXPECT_EQ(response.gallery_version(), "v1");
  EXPECT_EQ(response.model_fingerprint(), "fake-fingerprint");
}

TEST_F(ServerSearchTest, ExplainTellsEverything) {
  Start();
  v1::SearchImagesRequest request = TextRequest("one two three four five six seven");
  request.mutable_options()->set_top_k(3);
  request.mutable_options()->set_rerank_depth(7);
  request.mutable_options()->set_view(v1::RESULT_VIEW_EXPLAIN);
  v1::SearchImagesResponse response;
  const grpc::Status status = SearchImages(request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.hits_size(), 3);
  EXPECT_EQ(response.stats().reranked_count(), 7);
  EXPECT_TRUE(response.stats().text_truncated());
  for (const v1::ImageHit& hit : response.hits()) {
    const v1::ScoreDetails& details = hit.details();
    EXPECT_FLOAT_EQ(hit.score(), (details.i2t_score() + details.t2i_score()) / 2);
    EXPECT_GE(details.coarse_rank(), 1);
    EXPECT_LE(details.coarse_rank(), 7);
    ASSERT_EQ(details.routings_size(), 2);
    EXPECT_EQ(details.routings(0).path_weights_size(), kNumPathWeights);
    EXPECT_EQ(details.routings(1).path_weights(35).weight(),
              FakePathWeight(details.t2i_score(), 35, Direction::kT2i));
  }
  // The stages are parts of the whole.
  const auto nanos = [](const google::protobuf::Duration& duration) {
    return duration.seconds() * 1000000000 + duration.nanos();
  };
  const v1::SearchStats& stats = response.stats();
  EXPECT_GT(nanos(stats.rerank_time()), 0);
  EXPECT_LE(nanos(stats.queue_time()) + nanos(stats.encode_time()) + nanos(stats.recall_time()) +
                nanos(stats.rerank_time()) + nanos(stats.select_time()),
            nanos(stats.total_time()));
}

TEST_F(ServerSearchTest, AnImageFindsTheSameCaptionsByIdAndByFeatures) {
  Start();
  v1::SearchCaptionsRequest by_id;
  by_id.set_image_id("image-7");
  v1::SearchCaptionsResponse id_response, features_response;
  ASSERT_TRUE(SearchCaptions(by_id, &id_response).ok());
  ASSERT_TRUE(SearchCaptions(FeaturesRequest(FakeRegionFeatures(7)), &features_response).ok());
  ASSERT_EQ(id_response.hits_size(), 10);
  EXPECT_EQ(id_response.DebugString(), features_response.DebugString());
  EXPECT_THAT(id_response.hits(0).text(), Not(testing::IsEmpty()));
}

TEST_F(ServerSearchTest, AFusedScoreIsTheWeighedSumOfItsParts) {
  model_->mutable_info().ranking.of(Modality::kImage,
                                    ScoreMode::kEnsemble) = {.fusion_weight = 0.25f};
  Start();
  v1::SearchImagesRequest request = TextRequest("two big star");
  request.mutable_options()->set_exact(true);
  request.mutable_options()->set_top_k(kServedImages);
  request.mutable_options()->set_view(v1::RESULT_VIEW_FULL);
  v1::SearchImagesResponse response;
  ASSERT_TRUE(SearchImages(request, &response).ok());
  ASSERT_EQ(response.hits_size(), kServedImages);
  EXPECT_EQ(response.stats().fusion_weight(), 0.25f);
  for (int k = 0; k < kServedImages; ++k) {
    const v1::ScoreDetails& details = response.hits(k).details();
    EXPECT_FLOAT_EQ(response.hits(k).score(),
                    0.75f * details.rerank_score() + 0.25f * details.coarse_score());
    EXPECT_FLOAT_EQ(details.rerank_score(), (details.i2t_score() + details.t2i_score()) / 2);
    EXPECT_LE(response.hits(k).score(), response.hits(std::max(k - 1, 0)).score());
  }
}

TEST_F(ServerSearchTest, TheCoarseScoreAloneCostsNoReranking) {
  options_.metrics_address = "127.0.0.1:0";
  Start();
  v1::SearchImagesRequest request = TextRequest("two big star");
  request.mutable_options()->set_fusion_weight(1);
  request.mutable_options()->set_view(v1::RESULT_VIEW_EXPLAIN);
  for (bool exact : {false, true}) {
    request.mutable_options()->set_exact(exact);
    v1::SearchImagesResponse response;
    ASSERT_TRUE(SearchImages(request, &response).ok());
    ASSERT_EQ(response.hits_size(), 10);
    EXPECT_EQ(response.stats().recalled_count(), kServedImages);
    EXPECT_EQ(response.stats().reranked_count(), 0);
    EXPECT_EQ(response.stats().rerank_time().nanos(), 0);
    for (int k = 0; k < 10; ++k) {
      const v1::ScoreDetails& details = response.hits(k).details();
      EXPECT_EQ(response.hits(k).score(), details.coarse_score());
      EXPECT_EQ(details.coarse_rank(), k + 1);
      EXPECT_FALSE(details.has_rerank_score());
      EXPECT_EQ(details.routings_size(), 0);
    }
  }
  EXPECT_THAT(Scrape(), AllOf(HasSubstr("dime_batch_pairs_count 0\n"),
                              HasSubstr("dime_rerank_pairs_total{direction=\"i2t\"} 0\n")));
}

TEST_F(ServerSearchTest, AdaptiveDepthSavesPairsAndTellsHowMany) {
  options_.metrics_address = "127.0.0.1:0";
  // Rerank scores are within [-1, 1], so that this bound holds.
  model_->mutable_info().ranking.of(Modality::kImage, ScoreMode::kEnsemble) = {
      .fusion_weight = 0.75f, .bound = ScoreBound{.slope = 0.75f, .intercept = 0.25f}};
  Start();
  v1::SearchImagesRequest request = TextRequest("two big star");
  request.mutable_options()->set_top_k(3);
  request.mutable_options()->set_view(v1::RESULT_VIEW_FULL);
  v1::SearchImagesResponse full, adaptive;
  ASSERT_TRUE(SearchImages(request, &full).ok());
  request.mutable_options()->set_adaptive_depth(true);
  ASSERT_TRUE(SearchImages(request, &adaptive).ok());
  EXPECT_EQ(full.stats().reranked_count(), kServedImages);
  EXPECT_EQ(adaptive.stats().recalled_count(), kServedImages);
  EXPECT_LT(adaptive.stats().reranked_count(), kServedImages);
  ASSERT_EQ(adaptive.hits_size(), 3);
  for (int k = 0; k < 3; ++k) {
    EXPECT_EQ(adaptive.hits(k).DebugString(), full.hits(k).DebugString());
  }
  EXPECT_THAT(Scrape(),
              AllOf(HasSubstr("dime_adaptive_depth_saved_ratio_count{method=\"SearchImages\"} 1\n"),
                    HasSubstr("dime_adaptive_depth_saved_ratio_bucket{method=\"SearchImages\","
                              "le=\"0\"} 0\n")));
}

TEST_F(ServerSearchTest, AuditsTellWhatADepthTooSmallMisses) {
  options_.metrics_address = "127.0.0.1:0";
  options_.audit.rate = 1;
  Start();
  v1::SearchImagesRequest request = TextRequest("two big star");
  request.mutable_options()->set_exact(true);
  request.mutable_options()->set_view(v1::RESULT_VIEW_FULL);
  v1::SearchImagesResponse exact, response;
  ASSERT_TRUE(SearchImages(request, &exact).ok());
  // With a depth just short of the exact best hit's coarse rank, that one is missed.
  const int rank = exact.hits(0).details().coarse_rank();
  ASSERT_GT(rank, 1);
  request.mutable_options()->set_exact(false);
  request.mutable_options()->set_top_k(1);
  request.mutable_options()->set_rerank_depth(rank - 1);
  ASSERT_TRUE(SearchImages(request, &response).ok());
  AwaitMetric("dime_recall_audit_samples_total{method=\"SearchImages\"} 1\n");
  request.mutable_options()->set_rerank_depth(rank);
  ASSERT_TRUE(SearchImages(request, &response).ok());
  AwaitMetric("dime_recall_audit_samples_total{method=\"SearchImages\"} 2\n");
  // The exact search itself was none.
  EXPECT_THAT(
      Scrape(),
      AllOf(HasSubstr("dime_recall_audit_ratio_count{k=\"1\",method=\"SearchImages\"} 2\n"),
            HasSubstr("dime_recall_audit_ratio_sum{k=\"1\",method=\"SearchImages\"} 1\n"),
            HasSubstr("dime_recall_audit_ratio_count{k=\"10\",method=\"SearchImages\"} 0\n"),
            HasSubstr("dime_recall_audit_top1_in_window_total{method=\"SearchImages\"} 1\n"),
            HasSubstr("dime_recall_audit_lag_seconds_count{method=\"SearchImages\"} 2\n"),
            HasSubstr("dime_requests_total{code=\"OK\",method=\"SearchImages\"} 3\n")));
}

TEST_F(ServerSearchTest, ConcurrentSearchesGetTheirOwnAnswers) {
  Start();
  const std::vector<std::string> texts = FakeCaptions(14);
  std::vector<std::string> alone;
  for (const std::string& text : texts) {
    v1::SearchImagesResponse response;
    ASSERT_TRUE(SearchImages(TextRequest(text), &response).ok());
    alone.push_back(response.DebugString());
  }
  std::atomic<int> same = 0;
  std::vector<std::thread> threads;
  for (size_t t = 0; t < texts.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int n = 0; n < 10; ++n) {
        v1::SearchImagesResponse response;
        if (SearchImages(TextRequest(texts[t]), &response).ok() &&
            response.DebugString() == alone[t]) {
          ++same;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(same, 10 * static_cast<int>(texts.size()));
}

TEST_F(ServerSearchTest, InfoHoldsTheLimitsInForce) {
  options_.limits.max_top_k = 33;
  Start();
  grpc::ClientContext context;
  v1::GetInfoResponse info;
  ASSERT_TRUE(stub_->GetInfo(&context, {}, &info).ok());
  EXPECT_EQ(info.server_version(), "1.2.3");
  EXPECT_EQ(info.limits().max_top_k(), 33);
  EXPECT_EQ(info.model().name(), "fake-model");
  EXPECT_EQ(info.gallery().image_count(), kServedImages);
  EXPECT_GT(info.start_time().seconds(), 1600000000);
}

TEST_F(ServerSearchTest, AWrongRequestNamesItsFields) {
  Start();
  v1::SearchImagesRequest request = TextRequest(" ");
  request.mutable_options()->set_top_k(1000000);
  v1::SearchImagesResponse response;
  const grpc::Status status = SearchImages(request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("options.top_k: must be 1 to 1000, got 1000000"));
  const ErrorDetails details = ParseErrorDetails(status);
  EXPECT_EQ(details.domain, "dime.v1");
  EXPECT_EQ(details.reason, "TEXT_EMPTY");
  EXPECT_THAT(details.Fields(), ElementsAre("text", "options.top_k"));
}

TEST_F(ServerSearchTest, HugeFeaturesAreTheCallersFault) {
  Start();
  v1::SearchCaptionsResponse response;
  const grpc::Status status = SearchCaptions(
      FeaturesRequest(std::vector<float>(kFakeNumRegions * kFakeFeatureDim, 3e38f)), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(ParseErrorDetails(status).Fields(), ElementsAre("features.values"));
}

TEST_F(ServerSearchTest, AnUnknownImageIsNotFound) {
  Start();
  v1::SearchCaptionsRequest request;
  request.set_image_id(std::string(1000000, 'x'));  // nor does its length overflow the headers
  v1::SearchCaptionsResponse response;
  const grpc::Status status = SearchCaptions(request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ParseErrorDetails(status).reason, "ITEM_NOT_FOUND");
  EXPECT_EQ(ParseErrorDetails(status).resource_type, "image");
}

TEST_F(ServerSearchTest, AGalleryWithoutCaptionsCannotBeSearchedForThem) {
  contents_.captions.clear();
  Start();
  v1::SearchCaptionsRequest request;
  request.set_image_id("image-0");
  v1::SearchCaptionsResponse response;
  const grpc::Status status = SearchCaptions(request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(ParseErrorDetails(status).reason, "GALLERY_EMPTY");
}

TEST_F(ServerSearchTest, BytesThatAreNoUtf8NameTheirField) {
  Start();
  const grpc::Status status =
      RawCall("/dime.v1.RetrievalService/SearchImages", "\x0a\x03\xff\xfe!");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ParseErrorDetails(status).reason, "TEXT_NOT_UTF8");
  EXPECT_THAT(ParseErrorDetails(status).Fields(), ElementsAre("text"));
}

TEST_F(ServerSearchTest, BytesThatAreNoMessageAreToldSo) {
  Start();
  for (const char* method : {"SearchImages", "SearchCaptions", "GetInfo"}) {
    const grpc::Status status =
        RawCall(std::string("/dime.v1.RetrievalService/") + method, "\xff\xff\xff");
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(ParseErrorDetails(status).reason, "MESSAGE_MALFORMED");
  }
}

TEST_F(ServerSearchTest, AnOversizedMessageIsRefusedAndTheServerLives) {
  options_.limits.max_request_bytes = 10000;
  Start();
  v1::SearchImagesResponse response;
  grpc::Status status = SearchImages(TextRequest(std::string(20000, 'x')), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ParseErrorDetails(status).reason, "MESSAGE_TOO_LARGE");
  EXPECT_THAT(status.error_message(), HasSubstr("10000"));
  // Far too large ones do not even reach the service.
  status = SearchImages(TextRequest(std::string(50000, 'x')), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(SearchImages(TextRequest("red"), &response).ok());
}

TEST_F(ServerSearchTest, AScoreThatIsNoNumberIsInternal) {
  std::atomic<bool> spoil = false;
  model_->fake_scorer().replace_score = [&spoil](int64_t, float score) {
    return spoil ? std::nanf("") : score;
  };
  Start();
  spoil = true;
  v1::SearchImagesResponse response;
  const grpc::Status status = SearchImages(TextRequest("red"), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_EQ(ParseErrorDetails(status).reason, "INTERNAL");
  spoil = false;
  EXPECT_TRUE(SearchImages(TextRequest("red"), &response).ok());
  server_ = nullptr;  // before `spoil`
}

TEST_F(ServerSearchTest, AFullQueueSaysWhenToComeBack) {
  options_.metrics_address = "127.0.0.1:0";
  options_.workers = {.threads = 1, .max_queued = 1};
  Start();
  hold_launches_ = true;
  v1::SearchImagesResponse running_response, queued_response, refused_response;
  grpc::Status running, queued;
  std::thread running_caller(
      [&] { running = SearchImages(TextRequest("red"), &running_response); });
  gate_.AwaitArrivals(1);
  std::thread queued_caller([&] { queued = SearchImages(TextRequest("blue"), &queued_response); });
  AwaitMetric("dime_queue_requests 1\n");

  grpc::ClientContext context;
  const grpc::Status refused =
      stub_->SearchImages(&context, TextRequest("star"), &refused_response);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ParseErrorDetails(refused).reason, "QUEUE_FULL");
  EXPECT_EQ(ParseErrorDetails(refused).retry_delay_ms, 120);
  const auto pushback = context.GetServerTrailingMetadata().find("grpc-retry-pushback-ms");
  ASSERT_NE(pushback, context.GetServerTrailingMetadata().end());
  EXPECT_EQ(std::string(pushback->second.data(), pushback->second.size()), "120");

  gate_.Open();
  running_caller.join();
  queued_caller.join();
  EXPECT_TRUE(running.ok()) << running.error_message();
  EXPECT_TRUE(queued.ok()) << queued.error_message();
  EXPECT_THAT(Scrape(), HasSubstr("dime_queue_rejected_total{reason=\"full\"} 1\n"));
}

TEST_F(ServerSearchTest, AFullRerankingQueueSaysSoToo) {
  options_.max_queue_pairs = 1;
  options_.max_batch_pairs = 8;
  Start();
  hold_launches_ = true;
  v1::SearchImagesResponse first_response, second_response;
  std::thread first_caller([&] { SearchImages(TextRequest("red"), &first_response); });
  gate_.AwaitArrivals(1);  // with rows of the first search still in the queue
  const grpc::Status second = SearchImages(TextRequest("blue"), &second_response);
  EXPECT_EQ(second.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ParseErrorDetails(second).reason, "QUEUE_FULL");
  gate_.Open();
  first_caller.join();
}

class ServerLaunchTest : public ServerSearchTest {
 protected:
  // Pairs of the largest launch that an exact search takes of a scorer that likes three.
  size_t LargestLaunch() {
    std::atomic<size_t> largest = 0;
    model_->fake_scorer().pairs_of_launch = 3;
    model_->fake_scorer().on_launch = [&largest](absl::Span<const ScoringRequest> requests) {
      size_t pairs = 0;
      for (const ScoringRequest& request : requests) pairs += request.rows.size();
      largest = std::max(largest.load(), pairs);
      return absl::OkStatus();
    };
    Start();
    largest = 0;
    v1::SearchImagesRequest request = TextRequest("red");
    request.mutable_options()->set_exact(true);
    v1::SearchImagesResponse response;
    const grpc::Status status = SearchImages(request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return largest;
  }
};

TEST_F(ServerLaunchTest, IsAsLargeAsTheScorerLikes) { EXPECT_EQ(LargestLaunch(), 3u); }

TEST_F(ServerLaunchTest, IsAsLargeAsTheServerIsTold) {
  options_.max_batch_pairs = 5;
  EXPECT_EQ(LargestLaunch(), 5u);
}

TEST_F(ServerSearchTest, APassedDeadlineIsToldAndCounted) {
  options_.metrics_address = "127.0.0.1:0";
  Start();
  hold_launches_ = true;
  v1::SearchImagesResponse running_response, late_response;
  grpc::Status running;
  std::thread running_caller(
      [&] { running = SearchImages(TextRequest("red"), &running_response); });
  gate_.AwaitArrivals(1);
  const grpc::Status late =
      SearchImages(TextRequest("blue"), &late_response, absl::Now() + absl::Milliseconds(200));
  EXPECT_EQ(late.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  // The server gives it up as well, while it still waits for the launch before it.
  AwaitMetric("dime_requests_total{code=\"DEADLINE_EXCEEDED\",method=\"SearchImages\"} 1\n");
  gate_.Open();
  running_caller.join();
  EXPECT_TRUE(running.ok()) << running.error_message();
}

TEST_F(ServerSearchTest, ACancelledCallIsGivenUpAndCounted) {
  options_.metrics_address = "127.0.0.1:0";
  options_.max_batch_pairs = 1;
  std::atomic<bool> hold = false;
  model_->fake_scorer().on_launch = [this, &hold](absl::Span<const ScoringRequest>) {
    if (hold) {
      gate_.Pass();
      // A round trip through the server for each of the search's launches: the cancellation, which
      // was sent first, is heard during one of them.
      Health("");
    }
    return absl::OkStatus();
  };
  Start();
  hold = true;
  v1::SearchImagesRequest request = TextRequest("red");
  request.mutable_options()->set_exact(true);
  v1::SearchImagesResponse response;
  grpc::ClientContext context;
  grpc::Status status;
  std::thread caller([&] { status = stub_->SearchImages(&context, request, &response); });
  gate_.AwaitArrivals(1);
  context.TryCancel();
  caller.join();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
  gate_.Open();
  AwaitMetric("dime_requests_total{code=\"CANCELLED\",method=\"SearchImages\"} 1\n");
  EXPECT_THAT(Scrape(), HasSubstr("dime_requests_inflight{method=\"SearchImages\"} 0\n"));
  server_ = nullptr;  // before `hold`
}

class ServerExplainTest : public ServerFixture {
 protected:
  grpc::Status Explain(const v1::ExplainPairRequest& request, v1::ExplainPairResponse* response) {
    grpc::ClientContext context;
    return stub_->ExplainPair(&context, request, response);
  }
};

TEST_F(ServerExplainTest, APairIsExplainedWithTheScoreThatSearchGivesIt) {
  options_.metrics_address = "127.0.0.1:0";
  Start();
  v1::SearchImagesRequest search = TextRequest("two big star");
  search.mutable_options()->set_view(v1::RESULT_VIEW_EXPLAIN);
  v1::SearchImagesResponse found;
  grpc::ClientContext context;
  ASSERT_TRUE(stub_->SearchImages(&context, search, &found).ok());
  const v1::ImageHit& hit = found.hits(0);

  v1::ExplainPairRequest request;
  request.set_text("two big star");
  request.set_image_id(hit.id());
  v1::ExplainPairResponse response;
  const grpc::Status status = Explain(request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_FLOAT_EQ(response.coarse_score(), hit.details().coarse_score());
  EXPECT_FLOAT_EQ(response.rerank_score(), hit.details().rerank_score());
  ASSERT_EQ(response.directions_size(), 2);
  for (int d = 0; d < 2; ++d) {
    EXPECT_EQ(response.directions(d).routing().DebugString(),
              hit.details().routings(d).DebugString());
    EXPECT_EQ(response.directions(d).cells_size(), 3);
  }
  EXPECT_EQ(response.image_uri(), hit.uri());
  AwaitMetric("dime_requests_total{code=\"OK\",method=\"ExplainPair\"} 1\n");
}

TEST_F(ServerExplainTest, WrongAndUnknownPairsAreToldAsSearchesAre) {
  Start();
  v1::ExplainPairRequest request;
  v1::ExplainPairResponse response;
  const grpc::Status wrong = Explain(request, &response);
  EXPECT_EQ(wrong.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(ParseErrorDetails(wrong).Fields(), ElementsAre("text", "image_id"));
  request.set_caption_id("caption-0");
  request.set_image_id("no such image");
  const grpc::Status unknown = Explain(request, &response);
  EXPECT_EQ(unknown.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ParseErrorDetails(unknown).resource_type, "image");
  request.mutable_features()->set_num_regions(kFakeNumRegions);
  request.mutable_features()->set_feature_dim(kFakeFeatureDim);
  for (int k = 0; k < kFakeNumRegions * kFakeFeatureDim; ++k) {
    request.mutable_features()->add_values(3e38f);
  }
  const grpc::Status huge = Explain(request, &response);
  EXPECT_EQ(huge.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(ParseErrorDetails(huge).Fields(), ElementsAre("features.values"));
  // A field 1, text, that is not UTF-8.
  const grpc::Status bytes =
      RawCall("/dime.v1.RetrievalService/ExplainPair", std::string("\x0a\x01\xe9", 3));
  EXPECT_EQ(bytes.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ParseErrorDetails(bytes).reason, "TEXT_NOT_UTF8");
}

// Explanations wait for a worker like searches do, and are refused like them.
TEST_F(ServerExplainTest, AFullQueueRefusesExplanationsToo) {
  options_.metrics_address = "127.0.0.1:0";
  options_.workers = {.threads = 1, .max_queued = 1};
  Start();
  hold_launches_ = true;
  v1::ExplainPairRequest request;
  request.set_text("red");
  request.set_image_id("image-0");
  v1::SearchImagesResponse found;
  v1::ExplainPairResponse queued_response, refused_response;
  std::thread running_caller([&] {
    grpc::ClientContext context;
    EXPECT_TRUE(stub_->SearchImages(&context, TextRequest("red"), &found).ok());
  });
  gate_.AwaitArrivals(1);
  grpc::Status queued;
  std::thread queued_caller([&] { queued = Explain(request, &queued_response); });
  AwaitMetric("dime_queue_requests 1\n");
  const grpc::Status refused = Explain(request, &refused_response);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ParseErrorDetails(refused).reason, "QUEUE_FULL");
  EXPECT_EQ(ParseErrorDetails(refused).retry_delay_ms, 120);
  gate_.Open();
  running_caller.join();
  queued_caller.join();
  EXPECT_TRUE(queued.ok()) << queued.error_message();
  EXPECT_EQ(queued_response.directions_size(), 2);
}

TEST_F(ServerSearchTest, AFailedRerankCanBecomeTheCoarseOrderAndSaysSo) {
  options_.metrics_address = "127.0.0.1:0";
  Start();
  model_->fake_scorer().on_launch = [](absl::Span<const ScoringRequest>) {
    return absl::InternalError("the device is lost");
  };
  v1::SearchImagesRequest request = TextRequest("red star");
  request.mutable_options()->set_view(v1::RESULT_VIEW_FULL);
  grpc::ClientContext failing, degraded;
  v1::SearchImagesResponse response;
  EXPECT_EQ(stub_->SearchImages(&failing, request, &response).error_code(),
            grpc::StatusCode::INTERNAL);
  request.mutable_options()->set_on_rerank_error(v1::ON_RERANK_ERROR_COARSE_ORDER);
  request.mutable_options()->set_min_final_score(1);
  ASSERT_TRUE(stub_->SearchImages(&degraded, request, &response).ok());
  ASSERT_EQ(response.hits_size(), 10);
  for (int k = 0; k < response.hits_size(); ++k) {
    EXPECT_EQ(response.hits(k).details().coarse_rank(), k + 1);
    EXPECT_EQ(response.hits(k).score(), response.hits(k).details().coarse_score());
    EXPECT_FALSE(response.hits(k).details().has_rerank_score());
  }
  ASSERT_EQ(response.degradation().reasons_size(), 1);
  EXPECT_EQ(response.degradation().reasons(0), v1::DEGRADATION_REASON_RERANK_FAILED);
  EXPECT_EQ(response.degradation().reranked_count(), 0);
  EXPECT_EQ(response.stats().fusion_weight(), 1);
  EXPECT_THAT(Scrape(), HasSubstr("dime_degraded_total{method=\"SearchImages\",reason=\"rerank_"
                                  "failed\"} 1\n"));
}

TEST_F(ServerSearchTest, AWholeAnswerIsNotMarked) {
  Start();
  grpc::ClientContext context;
  v1::SearchImagesResponse response;
  ASSERT_TRUE(stub_->SearchImages(&context, TextRequest("red star"), &response).ok());
  EXPECT_FALSE(response.has_degradation());
}

TEST_F(ServerSearchTest, ASearchThatCannotMakeItsDeadlineIsRefusedAtTheDoor) {
  options_.metrics_address = "127.0.0.1:0";
  options_.limits.default_rerank_depth = 4;
  // Warming up tells the rate: 80 evaluations a second.
  std::atomic<bool> warming{true};
  model_->fake_scorer().on_launch = [&](absl::Span<const ScoringRequest> requests) {
    const absl::Time start = absl::Now();
    while (warming && absl::Now() - start < requests[0].rows.size() * absl::Milliseconds(25)) {
    }
    if (!warming) gate_.Pass();
    return absl::OkStatus();
  };
  Start();
  warming = false;
  std::thread first([this] {
    v1::SearchImagesResponse response;
    v1::SearchImagesRequest request = TextRequest("red");
    request.mutable_options()->set_rerank_depth(kServedImages);
    EXPECT_TRUE(SearchImages(request, &response).ok());
  });
  gate_.AwaitArrivals(1);
  // A second's work waits already, so that half a second is too little.
  v1::SearchImagesResponse response;
  const absl::Time asked = absl::Now();
  const grpc::Status refused =
      SearchImages(TextRequest("red"), &response, asked + absl::Milliseconds(500));
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  const ErrorDetails details = ParseErrorDetails(refused);
  EXPECT_EQ(details.reason, "DEADLINE_UNREACHABLE");
  EXPECT_GT(details.retry_delay_ms.value_or(0), 120) << "longer than where nothing is known";
  gate_.Open();
  first.join();
  EXPECT_THAT(Scrape(), HasSubstr("dime_queue_rejected_total{reason=\"unreachable\"} 1\n"));
  AwaitMetric("dime_admitted_evaluations 0\n");
}

}  // namespace
}  // namespace dime
