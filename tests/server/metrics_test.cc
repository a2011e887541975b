#include "server/metrics.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "prometheus/text_serializer.h"
#include "tests/fakes/fake_gallery.h"
#include "tests/fakes/fake_model.h"

namespace dime {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class MetricsTest : public ::testing::Test {
 protected:
  std::string Text() const { return prometheus::TextSerializer().Serialize(metrics_.Collect()); }

  const FakeModel model_;
  const FakeGallery gallery_{{.num_images = 5, .captions = FakeCaptions(12)}};
  Metrics metrics_{"1.2.3", model_.info(), gallery_};
};

TEST_F(MetricsTest, EverySeriesIsThereAtZero) {
  const std::string text = Text();
  for (const char* method : {"SearchImages", "SearchCaptions", "GetInfo"}) {
    for (const char* code :
         {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED",
          "DEADLINE_EXCEEDED", "CANCELLED", "UNAVAILABLE", "INTERNAL"}) {
      const std::string labels = absl::StrCat("{code=\"", code, "\",method=\"", method, "\"} 0\n");
      EXPECT_THAT(text, HasSubstr("dime_requests_total" + labels));
      EXPECT_THAT(text, HasSubstr("dime_request_duration_seconds_count" + labels));
    }
    EXPECT_THAT(text, HasSubstr(absl::StrCat("dime_requests_inflight{method=\"", method, "\"} 0")));
  }
  for (const char* method : {"SearchImages", "SearchCaptions"}) {
    for (const char* stage : {"queue", "encode", "recall", "rerank", "select"}) {
      EXPECT_THAT(text, HasSubstr(absl::StrCat("dime_stage_duration_seconds_count{method=\"",
                                               method, "\",stage=\"", stage, "\"} 0\n")));
    }
    EXPECT_THAT(text,
                HasSubstr(absl::StrCat("dime_coarse_candidates_count{method=\"", method, "\"} 0")));
  }
  for (const char* reason : {"full", "deadline", "cancelled", "draining"}) {
    EXPECT_THAT(text,
                HasSubstr(absl::StrCat("dime_queue_rejected_total{reason=\"", reason, "\"} 0\n")));
  }
  for (const char* series :
       {"dime_queue_requests 0", "dime_queue_pairs 0", "dime_queue_oldest_seconds 0",
        "dime_batch_pairs_count 0", "dime_batch_requests_count 0",
        "dime_batch_duration_seconds_count 0", "dime_rerank_pairs_total{direction=\"i2t\"} 0",
        "dime_rerank_pairs_total{direction=\"t2i\"} 0"}) {
    EXPECT_THAT(text, HasSubstr(absl::StrCat("\n", series, "\n")));
  }
  // Latencies from half a millisecond to half a minute.
  EXPECT_THAT(text, AllOf(HasSubstr("le=\"0.0005\""), HasSubstr("le=\"30\"")));
}

TEST_F(MetricsTest, TellsWhatIsServed) {
  EXPECT_THAT(
      Text(),
      AllOf(HasSubstr("dime_build_info{version=\"1.2.3\"} 1\n"),
            HasSubstr("dime_model_info{device=\"cpu\",directions=\"i2t,t2i\",fingerprint=\""
                      "fake-fingerprint\",name=\"fake-model\"} 1\n"),
            HasSubstr("dime_gallery_info{caption_index=\"Flat\",image_index=\"Flat\",name=\"fake-"
                      "gallery\",version=\"v1\"} 1\n"),
            HasSubstr("dime_gallery_items{modality=\"image\"} 5\n"),
            HasSubstr("dime_gallery_items{modality=\"caption\"} 12\n"),
            HasSubstr("process_start_time_seconds "), HasSubstr("process_cpu_seconds_total "),
            HasSubstr("process_resident_memory_bytes ")));
}

TEST_F(MetricsTest, CountsRequests) {
  metrics_.RequestStarted(RpcMethod::kSearchImages);
  metrics_.RequestStarted(RpcMethod::kSearchImages);
  EXPECT_THAT(Text(), HasSubstr("dime_requests_inflight{method=\"SearchImages\"} 2\n"));
  metrics_.RequestFinished(RpcMethod::kSearchImages, absl::StatusCode::kOk, absl::Milliseconds(7));
  metrics_.RequestFinished(RpcMethod::kSearchImages, absl::StatusCode::kResourceExhausted,
                           absl::Milliseconds(1));
  EXPECT_THAT(
      Text(),
      AllOf(HasSubstr("dime_requests_inflight{method=\"SearchImages\"} 0\n"),
            HasSubstr("dime_requests_total{code=\"OK\",method=\"SearchImages\"} 1\n"),
            HasSubstr("dime_request_duration_seconds_bucket{code=\"OK\",method=\"SearchImages\","
                      "le=\"0.005\"} 0\n"),
            HasSubstr("dime_request_duration_seconds_bucket{code=\"OK\",method=\"SearchImages\","
                      "le=\"0.01\"} 1\n"),
            HasSubstr("dime_queue_rejected_total{reason=\"full\"} 1\n")));
}

TEST_F(MetricsTest, CountsSearchesAndBatches) {
  metrics_.SearchAnswered(RpcMethod::kSearchCaptions,
                          {.reranked_count = 40, .timings = {.rerank = absl::Seconds(1)}},
                          {.mode = ScoreMode::kEnsemble}, absl::Milliseconds(2));
  metrics_.SearchAnswered(RpcMethod::kSearchCaptions, {.reranked_count = 2},
                          {.mode = ScoreMode::kT2i}, absl::Milliseconds(2));
  metrics_.BatchLaunched({.pairs = 42, .requests = 2, .scoring = absl::Milliseconds(9)});
  EXPECT_THAT(
      Text(),
      AllOf(HasSubstr("dime_rerank_pairs_total{direction=\"i2t\"} 40\n"),
            HasSubstr("dime_rerank_pairs_total{direction=\"t2i\"} 42\n"),
            HasSubstr("dime_coarse_candidates_sum{method=\"SearchCaptions\"} 42\n"),
            HasSubstr("dime_stage_duration_seconds_sum{method=\"SearchCaptions\",stage=\"rerank\"} "
                      "1\n"),
            HasSubstr("dime_batch_pairs_sum 42\n"), HasSubstr("dime_batch_requests_sum 2\n")));
}

TEST_F(MetricsTest, AsksForTheQueueAtEachCollection) {
  metrics_.ObserveQueue([] {
    return Metrics::QueueState{.requests = 3, .pairs = 250, .oldest_wait = absl::Seconds(2)};
  });
  EXPECT_THAT(Text(),
              AllOf(HasSubstr("dime_queue_requests 3\n"), HasSubstr("dime_queue_pairs 250\n"),
                    HasSubstr("dime_queue_oldest_seconds 2\n")));
}

}  // namespace
}  // namespace dime
