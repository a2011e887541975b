#include "server/span_file.h"

#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace dime {
namespace {

using ::nlohmann::json;
using ::testing::HasSubstr;

CallReport SearchCall() {
  CallReport call;
  call.method = RpcMethod::kSearchImages;
  call.request_id = "request-7";
  call.span = {.trace_id = "0af7651916cd43dd8448eb211c80319c",
               .span_id = "00f067aa0ba902b7",
               .parent_span_id = "b7ad6b7169203331",
               .sampled = true};
  call.client = "ipv4:10.0.0.1";
  call.start = absl::FromUnixMillis(1767323045000);
  call.duration = absl::Milliseconds(12);
  SearchReport& search = call.search.emplace();
  search.scheduled = absl::Microseconds(100);
  search.stats.mutable_queue_time()->set_nanos(1000000);
  search.stats.mutable_encode_time()->set_nanos(2000000);
  search.stats.mutable_recall_time()->set_nanos(500000);
  search.stats.mutable_rerank_time()->set_nanos(8000000);
  search.stats.mutable_select_time()->set_nanos(300000);
  search.stats.set_recalled_count(100);
  search.stats.set_reranked_count(90);
  return call;
}

json Spans(const CallReport& call) {
  const json line = json::parse(SpanFile::FormatLine(call, "1.2.3"));
  EXPECT_EQ(line["resourceSpans"].size(), 1u);
  EXPECT_EQ(line["resourceSpans"][0]["scopeSpans"].size(), 1u);
  return line["resourceSpans"][0]["scopeSpans"][0]["spans"];
}

json AttributeOf(const json& span, const std::string& key) {
  for (const json& attribute : span["attributes"]) {
    if (attribute["key"] == key) return attribute["value"];
  }
  return nullptr;
}

TEST(SpanFileTest, ACallIsAServersSpanBelowItsCallers) {
  const json span = Spans(SearchCall())[0];
  EXPECT_EQ(span["name"], "dime.v1.RetrievalService/SearchImages");
  EXPECT_EQ(span["kind"], 2);
  EXPECT_EQ(span["traceId"], "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(span["spanId"], "00f067aa0ba902b7");
  EXPECT_EQ(span["parentSpanId"], "b7ad6b7169203331");
  // 64-bit integers are strings in JSON.
  EXPECT_EQ(span["startTimeUnixNano"], "1767323045000000000");
  EXPECT_EQ(span["endTimeUnixNano"], "1767323045012000000");
  EXPECT_EQ(AttributeOf(span, "rpc.method")["stringValue"], "SearchImages");
  EXPECT_EQ(AttributeOf(span, "rpc.grpc.status_code")["intValue"], "0");
  EXPECT_EQ(AttributeOf(span, "dime.request_id")["stringValue"], "request-7");
  EXPECT_EQ(AttributeOf(span, "dime.reranked")["intValue"], "90");
  EXPECT_EQ(AttributeOf(span, "dime.degraded")["boolValue"], false);
  EXPECT_FALSE(span.contains("status"));
  const json resource =
      json::parse(SpanFile::FormatLine(SearchCall(), "1.2.3"))["resourceSpans"][0]["resource"];
  EXPECT_EQ(AttributeOf(resource, "service.name")["stringValue"], "dime_server");
  EXPECT_EQ(AttributeOf(resource, "service.version")["stringValue"], "1.2.3");
}

TEST(SpanFileTest, AStageIsASpanWithinItsCall) {
  const json spans = Spans(SearchCall());
  ASSERT_EQ(spans.size(), 6u);
  const std::string names[] = {"queue", "encode_query", "recall", "rerank", "select"};
  std::string end = "1767323045000100000";  // when it was scheduled
  for (int i = 0; i < 5; ++i) {
    const json& stage = spans[i + 1];
    EXPECT_EQ(stage["name"], names[i]);
    EXPECT_EQ(stage["kind"], 1);
    EXPECT_EQ(stage["parentSpanId"], "00f067aa0ba902b7");
    EXPECT_EQ(stage["traceId"], "0af7651916cd43dd8448eb211c80319c");
    EXPECT_EQ(stage["startTimeUnixNano"], end) << names[i];
    end = stage["endTimeUnixNano"];
  }
  EXPECT_EQ(end, "1767323045011900000");
}

TEST(SpanFileTest, AnAnsweredQueryOfABatchIsASpanWithItsStages) {
  CallReport call = SearchCall();
  SearchReport search = *call.search;
  search.stats.mutable_total_time()->set_nanos(11800000);
  search.degraded = true;
  call.search.reset();
  call.batch = {std::nullopt, search};
  const json spans = Spans(call);
  ASSERT_EQ(spans.size(), 7u);
  EXPECT_EQ(AttributeOf(spans[0], "dime.queries")["intValue"], "2");
  const json& query = spans[1];
  EXPECT_EQ(query["name"], "query");
  EXPECT_EQ(query["parentSpanId"], "00f067aa0ba902b7");
  EXPECT_EQ(query["startTimeUnixNano"], "1767323045000100000");
  EXPECT_EQ(query["endTimeUnixNano"], "1767323045011900000");
  EXPECT_EQ(AttributeOf(query, "dime.query_index")["intValue"], "1");
  EXPECT_EQ(AttributeOf(query, "dime.reranked")["intValue"], "90");
  EXPECT_EQ(AttributeOf(query, "dime.degraded")["boolValue"], true);
  for (size_t i = 2; i < spans.size(); ++i) EXPECT_EQ(spans[i]["parentSpanId"], query["spanId"]);
  EXPECT_EQ(spans[6]["endTimeUnixNano"], query["endTimeUnixNano"]);
}

TEST(SpanFileTest, OnlyTheServersOwnFaultsAreErrors) {
  CallReport call;
  call.span = SearchCall().span;
  call.span.parent_span_id.clear();
  call.code = absl::StatusCode::kInvalidArgument;
  call.reason = v1::ERROR_REASON_TEXT_EMPTY;
  EXPECT_EQ(Spans(call).size(), 1u);
  EXPECT_FALSE(Spans(call)[0].contains("status"));
  EXPECT_FALSE(Spans(call)[0].contains("parentSpanId"));
  EXPECT_EQ(AttributeOf(Spans(call)[0], "dime.error_reason")["stringValue"], "TEXT_EMPTY");
  call.code = absl::StatusCode::kInternal;
  call.message = "it broke";
  EXPECT_EQ(Spans(call)[0]["status"]["code"], 2);
  EXPECT_EQ(Spans(call)[0]["status"]["message"], "it broke");
}

TEST(SpanFileTest, EachCallIsALineAtTheFilesEnd) {
  const std::string path = testing::TempDir() + "/spans.jsonl";
  std::filesystem::remove(path);
  for (int run = 0; run < 2; ++run) {
    const auto file = SpanFile::Open(path, "1.2.3");
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_TRUE((*file)->Write(SearchCall()).ok());
  }
  std::ifstream stream(path);
  std::string line;
  int lines = 0;
  for (; std::getline(stream, line); ++lines) EXPECT_TRUE(json::accept(line)) << line;
  EXPECT_EQ(lines, 2);
}

TEST(SpanFileTest, NamesAFileThatCannotBeWritten) {
  const std::string folder = testing::TempDir();
  EXPECT_TRUE(SpanFile::Check(folder + "/not-there-yet.jsonl").ok());
  EXPECT_FALSE(std::filesystem::exists(folder + "/not-there-yet.jsonl"));
  EXPECT_THAT(SpanFile::Check(folder + "/no/such/spans").message(),
              HasSubstr("/no/such/spans: No such file"));
  EXPECT_THAT(SpanFile::Check(folder).message(), HasSubstr("it is a directory"));
  EXPECT_THAT(SpanFile::Open(testing::TempDir() + "/no/such/spans", "1").status().message(),
              HasSubstr("/no/such/spans: No such file"));
}

TEST(SpanFileTest, AFileWithoutRoomLosesWhatDoesNotFitAlone) {
  const std::string path = testing::TempDir() + "/full.jsonl";
  std::filesystem::remove(path);
  const auto file = SpanFile::Open(path, "1.2.3");
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE((*file)->Write(SearchCall()).ok());
  // The file may grow by half a line; writes beyond fail as on a full disk.
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit narrow = {std::filesystem::file_size(path) + 300, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &narrow);
  const absl::Status full = (*file)->Write(SearchCall());
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(full.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(full.message(), HasSubstr("full.jsonl: File too large"));
  EXPECT_TRUE((*file)->Write(SearchCall()).ok());
  std::ifstream stream(path);
  std::string first, broken, last;
  std::getline(stream, first);
  std::getline(stream, broken);
  std::getline(stream, last);
  EXPECT_TRUE(json::accept(first));
  EXPECT_FALSE(json::accept(broken));
  EXPECT_TRUE(json::accept(last));
}

}  // namespace
}  // namespace dime
