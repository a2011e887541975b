// What a server tells of its calls, over the network: request ids, traces, slow calls, load.
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <thread>

#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "dime/v1/diagnostics.grpc.pb.h"
#include "dime/v1/gallery.grpc.pb.h"
#include "gmock/gmock.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "server/call_record.h"
#include "tests/fakes/error_details.h"
#include "tests/server/server_fixture.h"
#include "xds/data/orca/v3/orca_load_report.pb.h"

namespace dime {
namespace {

using ::nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

// Two or three bytes of a number, the highest first, as HTTP/2 has it.
std::string BigEndian(uint32_t value, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text.push_back(static_cast<char>(value >> (8 * i)));
  return text;
}

std::string Http2Frame(char type, char flags, uint32_t stream, const std::string& content) {
  return BigEndian(static_cast<uint32_t>(content.size()), 3) + type + flags + BigEndian(stream, 4) +
         content;
}

// All that a server sends in answer to one gRPC call, byte by byte, up to its trailers: what gRPC's
// own client does not show. Takes binary metadata as they are.
std::string Http2Call(const std::string& address, const std::string& method,
                      const std::string& message) {
  std::string headers;
  const auto add = [&headers](const std::string& name, const std::string& value) {
    headers.push_back(0);  // a literal that nothing is to remember
    for (const std::string& text : {name, value}) {
      headers.push_back(static_cast<char>(text.size()));  // below 127
      headers += text;
    }
  };
  add(":method", "POST");
  add(":scheme", "http");
  add(":path", method);
  add(":authority", "test");
  add("content-type", "application/grpc");
  add("te", "trailers");
  const std::string true_binary = BigEndian(0xfe03, 2) + BigEndian(1, 4);  // a setting of gRPC's
  const std::string body =
      std::string(1, '\0') + BigEndian(static_cast<uint32_t>(message.size()), 4) + message;
  const std::string sent = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Http2Frame(4, 0, 0, true_binary) +
                           Http2Frame(1, 4, 1, headers) + Http2Frame(0, 1, 1, body);
  // The trailers are one frame, which comes whole.
  return Exchange(address, sent, [](const std::string& answer) {
    return answer.find("grpc-status") != std::string::npos;
  });
}

class ServerObserveTest : public ServerFixture {
 protected:
  ServerObserveTest() { options_.log = &log_; }

  // A search with such metadata, if it has a value; its trailers.
  std::multimap<std::string, std::string> Search(const std::string& text,
                                                 const std::string& key = "",
                                                 const std::string& value = "") {
    grpc::ClientContext context;
    if (!value.empty()) context.AddMetadata(key, value);
    v1::SearchImagesResponse response;
    status_ = stub_->SearchImages(&context, TextRequest(text), &response);
    std::multimap<std::string, std::string> trailers;
    for (const auto& [name, content] : context.GetServerTrailingMetadata()) {
      trailers.emplace(std::string(name.data(), name.size()),
                       std::string(content.data(), content.size()));
    }
    return trailers;
  }
  std::string RequestId(const std::string& given) {
    return Search("red", kRequestIdKey, given).find(kRequestIdKey)->second;
  }
  v1::ListSlowRequestsResponse SlowRequests(const v1::ListSlowRequestsRequest& request) {
    grpc::ClientContext context;
    v1::ListSlowRequestsResponse response;
    status_ =
        v1::DiagnosticsService::NewStub(channel_)->ListSlowRequests(&context, request, &response);
    return response;
  }
  // Of the trace file, once the server has gone; one call must have been traced.
  json SpansOfTheOneCall() {
    server_ = nullptr;
    std::stringstream text;
    text << std::ifstream(options_.trace_file).rdbuf();
    const std::vector<json> lines = JsonLines(text.str());
    EXPECT_EQ(lines.size(), 1u);
    return lines.empty() ? json() : lines[0]["resourceSpans"][0]["scopeSpans"][0]["spans"];
  }
  static std::vector<json> JsonLines(const std::string& text) {
    std::vector<json> lines;
    for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
      lines.push_back(json::parse(line));
    }
    return lines;
  }

  std::ostringstream stream_;
  Log log_{Log::Format::kJson, &stream_};
  grpc::Status status_;
};

TEST_F(ServerObserveTest, ACallKeepsTheNameThatItsCallerGaveIt) {
  Start();
  EXPECT_EQ(RequestId("order-66/try:2"), "order-66/try:2");
  EXPECT_EQ(RequestId(std::string(128, 'x')), std::string(128, 'x'));
  // Whatever could break a line of a log, or is too long, is no name.
  for (const std::string& given : {std::string(), std::string("two words"), std::string(129, 'x'),
                                   std::string("a\"b"), std::string("{}")}) {
    EXPECT_THAT(RequestId(given), MatchesRegex("[0-9a-f]{32}")) << given;
  }
  EXPECT_NE(RequestId(""), RequestId(""));
}

TEST_F(ServerObserveTest, AnErrorIsFoundInTheLogByItsName) {
  Start();
  const auto trailers = Search("", kRequestIdKey, "lost-1");
  EXPECT_EQ(status_.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(trailers.find(kRequestIdKey)->second, "lost-1");
  Search("red", kRequestIdKey, "fine-1");
  server_ = nullptr;
  const std::vector<json> lines = JsonLines(stream_.str());
  ASSERT_EQ(lines.size(), 1u) << stream_.str();
  EXPECT_EQ(lines[0]["request_id"], "lost-1");
  EXPECT_EQ(lines[0]["method"], "SearchImages");
  EXPECT_EQ(lines[0]["code"], "INVALID_ARGUMENT");
  EXPECT_EQ(lines[0]["reason"], "TEXT_EMPTY");
  EXPECT_THAT(lines[0]["client"].get<std::string>(), HasSubstr("127.0.0.1"));
}

TEST_F(ServerObserveTest, SpansOfASampledCallAreWrittenBelowItsCallers) {
  options_.trace_file = testing::TempDir() + "/server-spans.jsonl";
  std::filesystem::remove(options_.trace_file);
  Start();
  Search("red", "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  Search("red", "traceparent", "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
  Search("red");  // roots are not sampled with a rate of 0
  const json spans = SpansOfTheOneCall();
  ASSERT_EQ(spans.size(), 6u);
  EXPECT_EQ(spans[0]["name"], "dime.v1.RetrievalService/SearchImages");
  EXPECT_EQ(spans[0]["traceId"], "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(spans[0]["parentSpanId"], "b7ad6b7169203331");
  for (const json& span : spans) {
    const auto time = [&span](const char* key) { return std::stoll(span[key].get<std::string>()); };
    EXPECT_LE(time("startTimeUnixNano"), time("endTimeUnixNano"));
    EXPECT_GE(time("startTimeUnixNano"),
              std::stoll(spans[0]["startTimeUnixNano"].get<std::string>()));
  }
}

TEST_F(ServerObserveTest, QueriesOfABatchHaveSpansBelowTheCalls) {
  options_.trace_file = testing::TempDir() + "/batch-spans.jsonl";
  std::filesystem::remove(options_.trace_file);
  Start();
  grpc::ClientContext context;
  context.AddMetadata("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  v1::BatchSearchImagesRequest request;
  for (const char* text : {"red", "", "blue"}) *request.add_requests() = TextRequest(text);
  v1::BatchSearchImagesResponse response;
  ASSERT_TRUE(stub_->BatchSearchImages(&context, request, &response).ok());
  const json spans = SpansOfTheOneCall();
  ASSERT_EQ(spans.size(), 13u);  // the call's, and of two queries their own and five stages
  std::set<std::string> queries;
  for (const json& span : spans) {
    if (span["name"] != "query") continue;
    EXPECT_EQ(span["parentSpanId"], spans[0]["spanId"]);
    queries.insert(span["attributes"][0]["value"]["intValue"].get<std::string>());
  }
  EXPECT_THAT(queries, ElementsAre("0", "2"));
}

TEST_F(ServerObserveTest, ATraceFileThatCannotBeWrittenStopsTheStart) {
  options_.trace_file = testing::TempDir() + "/no/such/folder/spans";
  EXPECT_THAT(TryStart(options_).status().message(), HasSubstr("/no/such/folder/spans"));
}

TEST_F(ServerObserveTest, SlowCallsCanBeListedAndMadeOnceMore) {
  options_.slow_calls.threshold = absl::ZeroDuration();  // every call is slow
  Start();
  Search("a red star", kRequestIdKey, "slow-1");
  Search("", kRequestIdKey, "slow-2");
  RawCall("/dime.v1.RetrievalService/SearchImages", "no message");

  const v1::ListSlowRequestsResponse listed = SlowRequests({});
  EXPECT_EQ(listed.capacity(), 64);
  ASSERT_EQ(listed.slow_requests_size(), 3);
  EXPECT_EQ(listed.slow_requests(0).request_bytes(), 10);
  EXPECT_EQ(listed.slow_requests(1).request_id(), "slow-2");
  EXPECT_EQ(listed.slow_requests(1).code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(listed.slow_requests(1).reason(), v1::ERROR_REASON_TEXT_EMPTY);
  const v1::SlowRequest& first = listed.slow_requests(2);
  EXPECT_EQ(first.request_id(), "slow-1");
  EXPECT_EQ(first.method(), "SearchImages");
  EXPECT_EQ(first.stats().reranked_count(), kServedImages);
  EXPECT_EQ(first.request_case(), v1::SlowRequest::REQUEST_NOT_SET) << "it was not asked for";

  v1::ListSlowRequestsRequest request;
  request.set_with_requests(true);
  request.set_request_id("slow-1");
  const v1::ListSlowRequestsResponse one = SlowRequests(request);
  ASSERT_EQ(one.slow_requests_size(), 1);
  EXPECT_EQ(one.slow_requests(0).search_images().text(), "a red star");
  request.clear_request_id();
  request.set_max_results(2);
  EXPECT_EQ(SlowRequests(request).slow_requests_size(), 2);
  request.set_max_results(10);
  const v1::ListSlowRequestsResponse all = SlowRequests(request);
  for (const v1::SlowRequest& slow : all.slow_requests()) {
    if (slow.request_bytes() != 10) continue;
    EXPECT_EQ(slow.request_case(), v1::SlowRequest::REQUEST_NOT_SET) << "it was no message";
  }
  request.set_max_results(-1);
  SlowRequests(request);
  EXPECT_EQ(ParseErrorDetails(status_).reason, "VALUE_OUT_OF_RANGE");
}

TEST_F(ServerObserveTest, ACallThatUsesItsTimeUpIsKept) {
  Start();
  hold_launches_ = true;
  grpc::ClientContext context;
  // On a busy machine less may be over before the server has heard of the call.
  constexpr absl::Duration kTime = absl::Milliseconds(500);
  context.set_deadline(absl::ToChronoTime(absl::Now() + kTime));
  std::thread call([&] {
    v1::SearchImagesResponse response;
    EXPECT_EQ(stub_->SearchImages(&context, TextRequest("red"), &response).error_code(),
              grpc::StatusCode::DEADLINE_EXCEEDED);
  });
  gate_.AwaitArrivals(1);
  // The server counts the time from when it has heard of the call.
  const absl::Time late = absl::Now() + kTime;
  call.join();
  while (absl::Now() < late) std::this_thread::yield();
  gate_.Open();
  const absl::Time give_up = absl::Now() + absl::Seconds(60);
  v1::ListSlowRequestsResponse listed;
  while (listed.slow_requests().empty() && absl::Now() < give_up) {
    listed = SlowRequests({});
    std::this_thread::yield();
  }
  ASSERT_EQ(listed.slow_requests_size(), 1);
  EXPECT_EQ(listed.slow_requests(0).code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

// gRPC's own client keeps the report from programs, for its balancers' use; on the wire it is seen.
TEST_F(ServerObserveTest, AnswersTellOfTheLoad) {
  Start();
  // The first report comes when a second has passed.
  const absl::Time give_up = absl::Now() + absl::Seconds(60);
  std::string answer;
  size_t name = std::string::npos;
  while (name == std::string::npos && absl::Now() < give_up) {
    answer = Http2Call(server_->address(), "/dime.v1.RetrievalService/SearchImages",
                       TextRequest("red").SerializeAsString());
    ASSERT_THAT(answer, HasSubstr("grpc-status"));
    name = answer.find(kLoadReportTrailer);
  }
  ASSERT_NE(name, std::string::npos) << "no report came";
  // A literal of HPACK: the value's length, then a zero that says "binary", then the value.
  const size_t length_at = name + std::string(kLoadReportTrailer).size();
  const size_t length = static_cast<unsigned char>(answer.at(length_at));
  ASSERT_LT(length, 127u) << "Huffman's code, or several bytes";
  xds::data::orca::v3::OrcaLoadReport load;
  ASSERT_TRUE(load.ParseFromString(answer.substr(length_at + 2, length - 1)));
  EXPECT_GT(load.cpu_utilization(), 0);
  EXPECT_LE(load.cpu_utilization(), 1);
  EXPECT_GE(load.application_utilization(), load.cpu_utilization());
  EXPECT_GT(load.rps_fractional(), 0);
  EXPECT_EQ(load.named_metrics().count("queue_seconds"), 1u);
}

TEST_F(ServerObserveTest, LoadReportsCanBeTurnedOff) {
  options_.load_reports = false;
  Start();
  // Longer than the first report would take to come.
  const absl::Time end = absl::Now() + absl::Seconds(1.1);
  while (absl::Now() < end) {
    EXPECT_THAT(Http2Call(server_->address(), "/dime.v1.RetrievalService/SearchImages",
                          TextRequest("red").SerializeAsString()),
                Not(HasSubstr(kLoadReportTrailer)));
  }
}

TEST_F(ServerObserveTest, AConnectionEndsAtItsAgeAndTheNextCallMakesAnother) {
  options_.max_connection_age = absl::Milliseconds(100);
  Start();
  // With gRPC's own retries: a call that meets the end of its connection before the server has seen
  // it is sent again on the next one.
  channel_ = grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials());
  stub_ = v1::RetrievalService::NewStub(channel_);
  Search("red");
  EXPECT_TRUE(status_.ok());
  // The connection is taken from the client, who sees it without a call.
  const auto give_up = std::chrono::system_clock::now() + std::chrono::seconds(60);
  EXPECT_TRUE(channel_->WaitForStateChange(GRPC_CHANNEL_READY, give_up));
  Search("red");
  EXPECT_TRUE(status_.ok()) << status_.error_message();
}

TEST_F(ServerObserveTest, ACallUnderWayOutlivesItsConnectionsAge) {
  options_.max_connection_age = absl::Milliseconds(100);
  Start();
  hold_launches_ = true;
  grpc::Status held;
  std::thread caller([&] {
    grpc::ClientContext context;
    v1::SearchImagesResponse response;
    held = stub_->SearchImages(&context, TextRequest("red"), &response);
  });
  gate_.AwaitArrivals(1);
  const auto give_up = std::chrono::system_clock::now() + std::chrono::seconds(60);
  EXPECT_TRUE(channel_->WaitForStateChange(GRPC_CHANNEL_READY, give_up));
  gate_.Open();
  caller.join();
  EXPECT_TRUE(held.ok()) << held.error_message();
}

}  // namespace
}  // namespace dime
