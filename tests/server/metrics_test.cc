#include "server/metrics.h"

#include <fstream>
#include <iterator>
#include <regex>
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
  for (const char* method : {"SearchImages", "SearchCaptions", "ExplainPair", "GetInfo"}) {
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
  for (const char* method : {"SearchImages", "SearchCaptions"}) {
    for (const char* series :
         {"dime_rerank_top1_changed_total", "dime_rank_displacement_count",
          "dime_deepest_promoted_rank_count", "dime_deepest_promoted_rank_ratio_count",
          "dime_adaptive_depth_saved_ratio_count", "dime_recall_audit_samples_total",
          "dime_recall_audit_top1_in_window_total", "dime_recall_audit_lag_seconds_count"}) {
      EXPECT_THAT(text, HasSubstr(absl::StrCat("\n", series, "{method=\"", method, "\"} 0\n")));
    }
    for (const char* k : {"1", "10"}) {
      EXPECT_THAT(text, HasSubstr(absl::StrCat("dime_recall_audit_ratio_count{k=\"", k,
                                               "\",method=\"", method, "\"} 0\n")));
    }
    for (const char* reason : {"queue_full", "failed"}) {
      EXPECT_THAT(text, HasSubstr(absl::StrCat("dime_recall_audit_dropped_total{method=\"", method,
                                               "\",reason=\"", reason, "\"} 0\n")));
    }
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
                      "fake-fingerprint\",name=\"fake-model\",scorer=\"fake\"} 1\n"),
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
  metrics_.SearchAnswered(
      RpcMethod::kSearchCaptions,
      {.recalled_count = 40, .reranked_count = 40, .timings = {.rerank = absl::Seconds(1)}},
      {.mode = ScoreMode::kEnsemble}, absl::Milliseconds(2));
  metrics_.SearchAnswered(RpcMethod::kSearchCaptions, {.recalled_count = 2, .reranked_count = 2},
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

TEST_F(MetricsTest, TellsWhatRerankingChanges) {
  // Of 8 recalled captions, those with coarse ranks 6, 2 and 1 are the hits: moved by 5, 0 and 2.
  SearchResult result{
      .target = Modality::kCaption, .gallery_items = 12, .recalled_count = 8, .reranked_count = 8};
  result.hits = {{.coarse_rank = 6}, {.coarse_rank = 2}, {.coarse_rank = 1}};
  metrics_.SearchAnswered(RpcMethod::kSearchCaptions, result, {}, absl::ZeroDuration());
  EXPECT_THAT(
      Text(),
      AllOf(HasSubstr("dime_rerank_top1_changed_total{method=\"SearchCaptions\"} 1\n"),
            HasSubstr("dime_rank_displacement_sum{method=\"SearchCaptions\"} 2.33333"),
            HasSubstr("dime_deepest_promoted_rank_sum{method=\"SearchCaptions\"} 6\n"),
            HasSubstr("dime_deepest_promoted_rank_ratio_sum{method=\"SearchCaptions\"} 0.75\n"),
            HasSubstr("dime_rank_displacement_count{method=\"SearchImages\"} 0\n")));

  // The coarse order's first stays first; the whole gallery of 12 was reranked, and no depth is
  // deeper.
  result.recalled_count = result.reranked_count = 12;
  result.hits = {{.coarse_rank = 1}};
  metrics_.SearchAnswered(RpcMethod::kSearchCaptions, result, {}, absl::ZeroDuration());
  // Exact searches and those without reranking gain nothing by it.
  metrics_.SearchAnswered(RpcMethod::kSearchCaptions, result, {.exact = true},
                          absl::ZeroDuration());
  result.reranked_count = 0;
  metrics_.SearchAnswered(RpcMethod::kSearchCaptions, result, {.fusion_weight = 1},
                          absl::ZeroDuration());
  EXPECT_THAT(
      Text(),
      AllOf(HasSubstr("dime_rerank_top1_changed_total{method=\"SearchCaptions\"} 1\n"),
            HasSubstr("dime_rank_displacement_count{method=\"SearchCaptions\"} 2\n"),
            HasSubstr("dime_deepest_promoted_rank_sum{method=\"SearchCaptions\"} 7\n"),
            HasSubstr("dime_deepest_promoted_rank_ratio_count{method=\"SearchCaptions\"} 1\n")));
}

TEST_F(MetricsTest, TellsWhatAdaptiveDepthSaves) {
  const SearchResult result{.recalled_count = 100, .reranked_count = 25};
  metrics_.SearchAnswered(RpcMethod::kSearchImages, result,
                          {.score_bound = ScoreBound{.slope = 1, .intercept = 0}},
                          absl::ZeroDuration());
  metrics_.SearchAnswered(RpcMethod::kSearchImages, {.recalled_count = 100, .reranked_count = 100},
                          {}, absl::ZeroDuration());
  EXPECT_THAT(
      Text(),
      AllOf(HasSubstr("dime_adaptive_depth_saved_ratio_sum{method=\"SearchImages\"} 0.75\n"),
            HasSubstr("dime_adaptive_depth_saved_ratio_count{method=\"SearchImages\"} 1\n"),
            HasSubstr("dime_coarse_candidates_sum{method=\"SearchImages\"} 200\n"),
            HasSubstr("dime_rerank_pairs_total{direction=\"i2t\"} 125\n")));
}

TEST_F(MetricsTest, CountsAudits) {
  metrics_.quality().SearchAudited({.target = Modality::kImage,
                                    .ratios = {1.0, 0.7},
                                    .top1_in_window = true,
                                    .lag = absl::Seconds(3)});
  metrics_.quality().SearchAudited({.target = Modality::kImage, .ratios = {0.0, std::nullopt}});
  metrics_.quality().AuditDropped(Modality::kCaption, RecallAuditor::Drop::kQueueFull);
  metrics_.quality().AuditDropped(Modality::kCaption, RecallAuditor::Drop::kFailed);
  metrics_.quality().AuditDropped(Modality::kCaption, RecallAuditor::Drop::kFailed);
  EXPECT_THAT(
      Text(),
      AllOf(
          HasSubstr("dime_recall_audit_ratio_sum{k=\"1\",method=\"SearchImages\"} 1\n"),
          HasSubstr("dime_recall_audit_ratio_count{k=\"1\",method=\"SearchImages\"} 2\n"),
          HasSubstr("dime_recall_audit_ratio_count{k=\"10\",method=\"SearchImages\"} 1\n"),
          HasSubstr("dime_recall_audit_ratio_bucket{k=\"10\",method=\"SearchImages\",le=\"0.6\"} "
                    "0\n"),
          HasSubstr("dime_recall_audit_samples_total{method=\"SearchImages\"} 2\n"),
          HasSubstr("dime_recall_audit_top1_in_window_total{method=\"SearchImages\"} 1\n"),
          HasSubstr("dime_recall_audit_lag_seconds_sum{method=\"SearchImages\"} 3\n"),
          HasSubstr("dime_recall_audit_dropped_total{method=\"SearchCaptions\",reason=\"queue_"
                    "full\"} 1\n"),
          HasSubstr("dime_recall_audit_dropped_total{method=\"SearchCaptions\",reason=\"failed\"} "
                    "2\n")));
}

// What the alert rules select: metric names with what their braces hold.
TEST_F(MetricsTest, ExportsWhatTheAlertRulesName) {
  std::ifstream file(DIME_SOURCE_DIR "/deploy/prometheus/dime-alerts.yaml");
  const std::string rules((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::string text = Text();
  // Names alone also stand in descriptions; with a range they are in expressions.
  const std::regex selector(R"re((dime_\w+)(?:\{(\w+="\w+")\})?(\[\w+\])?)re");
  int in_expressions = 0;
  for (std::sregex_iterator match(rules.begin(), rules.end(), selector), end; match != end;
       ++match) {
    const std::string name = (*match)[1], label = (*match)[2];
    if ((*match)[3].length() > 0) ++in_expressions;
    if (name == "dime_server" || name == "dime_tune" || name == "dime_train_coarse") continue;
    const size_t series = text.find("\n" + name + "{");
    ASSERT_NE(series, std::string::npos) << "the rules name " << name << ", which is not exported";
    EXPECT_NE(text.find(label, series), std::string::npos) << name << "{" << label << "}";
  }
  EXPECT_GE(in_expressions, 10);
}

TEST_F(MetricsTest, AsksForTheQueueAtEachCollection) {
  metrics_.ObserveState([] {
    return Metrics::State{.requests = 3,
                          .pairs = 250,
                          .oldest_wait = absl::Seconds(2),
                          .cells = {.run = 70, .skipped = 30}};
  });
  EXPECT_THAT(Text(),
              AllOf(HasSubstr("dime_queue_requests 3\n"), HasSubstr("dime_queue_pairs 250\n"),
                    HasSubstr("dime_queue_oldest_seconds 2\n")));
  // Totals of the scorer's own: asked twice, they are not counted twice.
  EXPECT_THAT(Text(), AllOf(HasSubstr("dime_routing_cells_total{outcome=\"run\"} 70\n"),
                            HasSubstr("dime_routing_cells_total{outcome=\"skipped\"} 30\n")));
}

}  // namespace
}  // namespace dime
