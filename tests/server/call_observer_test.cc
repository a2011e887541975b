#include "server/call_observer.h"

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "grpcpp/support/slice.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "prometheus/text_serializer.h"
#include "tests/fakes/fake_gallery.h"
#include "tests/fakes/fake_model.h"

namespace dime {
namespace {

using ::nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

class CallObserverTest : public ::testing::Test {
 protected:
  CallObserver Observer(LoggedCalls logged, SpanFile* spans = nullptr) {
    return CallObserver({.metrics = &metrics_, .log = &log_, .spans = spans, .slow = &slow_},
                        {.logged = logged, .max_error_lines = 3, .now = [this] { return now_; }});
  }
  static CallReport Call(absl::StatusCode code, absl::Duration duration = absl::Milliseconds(5)) {
    CallReport call;
    call.method = RpcMethod::kSearchImages;
    call.request_id = "request-7";
    call.span = StartSpan("", 0);
    call.client = "name:robot";
    call.duration = duration;
    call.code = code;
    if (code != absl::StatusCode::kOk) {
      call.reason = v1::ERROR_REASON_TEXT_EMPTY;
      call.message = "text is empty";
    }
    const grpc::Slice request("\x0a\x06secret");
    call.request = grpc::ByteBuffer(&request, 1);
    return call;
  }
  std::vector<json> Lines() const {
    std::vector<json> lines;
    for (absl::string_view line : absl::StrSplit(stream_.str(), '\n', absl::SkipEmpty())) {
      lines.push_back(json::parse(line));
    }
    return lines;
  }
  std::string Metrics() const { return prometheus::TextSerializer().Serialize(metrics_.Collect()); }

  const FakeModel model_;
  const FakeGallery gallery_{{.num_images = 5, .captions = FakeCaptions(12)}};
  dime::Metrics metrics_{"1.2.3", model_.info(), gallery_};
  std::ostringstream stream_;
  Log log_{Log::Format::kJson, &stream_};
  SlowCalls slow_{{.threshold = absl::Seconds(1), .capacity = 2}};
  absl::Time now_ = absl::FromUnixSeconds(1000);
};

TEST_F(CallObserverTest, ErrorsGetALineThatSaysWhoseAndWhy) {
  CallObserver observer = Observer(LoggedCalls::kErrors);
  observer.Ended(Call(absl::StatusCode::kOk));
  EXPECT_TRUE(Lines().empty());
  observer.Ended(Call(absl::StatusCode::kInvalidArgument));
  ASSERT_EQ(Lines().size(), 1u);
  const json line = Lines()[0];
  EXPECT_EQ(line["severity"], "INFO") << "the caller's own fault";
  EXPECT_EQ(line["method"], "SearchImages");
  EXPECT_EQ(line["code"], "INVALID_ARGUMENT");
  EXPECT_EQ(line["reason"], "TEXT_EMPTY");
  EXPECT_EQ(line["error"], "text is empty");
  EXPECT_EQ(line["client"], "name:robot");
  EXPECT_EQ(line["request_id"], "request-7");
  EXPECT_EQ(line["trace_id"].get<std::string>().size(), 32u);
  EXPECT_EQ(line["seconds"], 0.005);
  observer.Ended(Call(absl::StatusCode::kUnavailable));
  observer.Ended(Call(absl::StatusCode::kInternal));
  EXPECT_EQ(Lines()[1]["severity"], "WARNING");
  EXPECT_EQ(Lines()[2]["severity"], "ERROR");
  EXPECT_THAT(stream_.str(), Not(HasSubstr("secret")));
}

TEST_F(CallObserverTest, AFloodOfErrorsIsToldInPart) {
  CallObserver observer = Observer(LoggedCalls::kErrors);
  for (int i = 0; i < 10; ++i) observer.Ended(Call(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(Lines().size(), 3u);
  EXPECT_THAT(Metrics(), HasSubstr("dime_log_lines_left_out_total 7\n"));
  now_ += absl::Seconds(1);
  observer.Ended(Call(absl::StatusCode::kInvalidArgument));
  ASSERT_EQ(Lines().size(), 4u);
  EXPECT_EQ(Lines()[3]["lines_left_out_before"], 7);
  observer.Ended(Call(absl::StatusCode::kInvalidArgument));
  EXPECT_FALSE(Lines()[4].contains("lines_left_out_before"));
}

TEST_F(CallObserverTest, AllMeansAllAndNoneNone) {
  CallObserver all = Observer(LoggedCalls::kAll);
  for (int i = 0; i < 10; ++i) all.Ended(Call(absl::StatusCode::kOk));
  EXPECT_EQ(Lines().size(), 10u);
  CallObserver none = Observer(LoggedCalls::kNone);
  none.Ended(Call(absl::StatusCode::kInternal));
  EXPECT_EQ(Lines().size(), 10u);
}

TEST_F(CallObserverTest, SlowCallsAreLoggedCountedAndKept) {
  CallObserver observer = Observer(LoggedCalls::kErrors);
  CallReport call = Call(absl::StatusCode::kOk, absl::Seconds(2));
  SearchReport& search = call.search.emplace();
  search.stats.mutable_rerank_time()->set_seconds(1);
  search.stats.set_reranked_count(90);
  observer.Ended(std::move(call));
  ASSERT_EQ(Lines().size(), 1u);
  EXPECT_EQ(Lines()[0]["severity"], "WARNING");
  EXPECT_EQ(Lines()[0]["slow"], true);
  EXPECT_EQ(Lines()[0]["rerank_seconds"], 1);
  EXPECT_EQ(Lines()[0]["reranked"], 90);
  ASSERT_EQ(slow_.List().size(), 1u);
  EXPECT_EQ(slow_.List()[0]->request.Length(), 8u);
  EXPECT_THAT(Metrics(), HasSubstr("dime_slow_requests_total{method=\"SearchImages\"} 1\n"));
}

TEST_F(CallObserverTest, ABatchsLineSaysHowManyOfItsQueriesWereAnswered) {
  CallObserver observer = Observer(LoggedCalls::kAll);
  CallReport call = Call(absl::StatusCode::kOk);
  call.batch = {SearchReport(), std::nullopt, SearchReport()};
  observer.Ended(std::move(call));
  ASSERT_EQ(Lines().size(), 1u);
  EXPECT_EQ(Lines()[0]["queries"], 3);
  EXPECT_EQ(Lines()[0]["queries_answered"], 2);
}

TEST_F(CallObserverTest, AStreamMayLast) {
  CallObserver observer = Observer(LoggedCalls::kAll);
  CallReport stream = Call(absl::StatusCode::kOk, absl::Hours(1));
  stream.items = 12345;
  observer.Ended(std::move(stream));
  EXPECT_TRUE(slow_.List().empty());
  ASSERT_EQ(Lines().size(), 1u);
  EXPECT_EQ(Lines()[0]["items"], 12345);
  EXPECT_FALSE(Lines()[0].contains("slow"));
}

TEST_F(CallObserverTest, SpansAreWrittenOfSampledCallsAlone) {
  const std::string path = testing::TempDir() + "/observer-spans.jsonl";
  std::filesystem::remove(path);
  const auto spans = SpanFile::Open(path, "1.2.3");
  ASSERT_TRUE(spans.ok());
  CallObserver observer = Observer(LoggedCalls::kNone, spans->get());
  observer.Ended(Call(absl::StatusCode::kOk));
  EXPECT_EQ(std::filesystem::file_size(path), 0u);
  CallReport sampled = Call(absl::StatusCode::kOk);
  sampled.span.sampled = true;
  observer.Ended(std::move(sampled));
  EXPECT_GT(std::filesystem::file_size(path), 0u);
  EXPECT_THAT(Metrics(), HasSubstr("dime_traced_requests_total{outcome=\"written\"} 1\n"));
}

TEST_F(CallObserverTest, SpansThatAreLostAreToldOnce) {
  const auto spans = SpanFile::Open("/dev/full", "1.2.3");  // a device without room
  ASSERT_TRUE(spans.ok());
  CallObserver observer = Observer(LoggedCalls::kNone, spans->get());
  for (int i = 0; i < 3; ++i) {
    CallReport sampled = Call(absl::StatusCode::kOk);
    sampled.span.sampled = true;
    observer.Ended(std::move(sampled));
  }
  ASSERT_EQ(Lines().size(), 1u);
  EXPECT_THAT(Lines()[0]["message"], HasSubstr("/dev/full: No space left"));
  EXPECT_THAT(Metrics(), HasSubstr("dime_traced_requests_total{outcome=\"lost\"} 3\n"));
}

}  // namespace
}  // namespace dime
