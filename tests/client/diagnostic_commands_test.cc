#include "client/diagnostic_commands.h"

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "client/cli.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/client/fake_retrieval_server.h"
#include "tests/client/sample_responses.h"

namespace dime {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class DiagnosticCommandsTest : public ::testing::Test {
 protected:
  struct Outcome {
    int exit_code;
    std::string out;
    std::string err;
  };
  Outcome Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--address", server_.address()});
    std::ostringstream out;
    std::ostringstream err;
    const int exit_code = RunCli(std::move(arguments), {}, out, err);
    return {exit_code, out.str(), err.str()};
  }

  // Three slow calls: a search that was answered, one that was not, and one without its request.
  static v1::ListSlowRequestsResponse SlowRequests() {
    v1::ListSlowRequestsResponse listed;
    listed.mutable_threshold()->set_seconds(1);
    listed.set_capacity(64);
    v1::SlowRequest& first = *listed.add_slow_requests();
    first.set_request_id("slow-1");
    first.set_method("SearchImages");
    first.set_client("name:robot");
    first.mutable_start_time()->set_seconds(1767323045);
    first.mutable_duration()->set_seconds(2);
    first.mutable_stats()->mutable_queue_time()->set_nanos(250000000);
    first.mutable_stats()->mutable_rerank_time()->set_seconds(1);
    first.mutable_stats()->set_reranked_count(90);
    first.mutable_search_images()->set_text("two dogs");
    v1::SlowRequest& second = *listed.add_slow_requests();
    second.set_request_id("slow-2");
    second.set_method("SearchCaptions");
    second.set_code(4);
    second.mutable_duration()->set_nanos(500000000);
    second.mutable_search_captions()->set_image_id("scene-3");
    v1::SlowRequest& third = *listed.add_slow_requests();
    third.set_request_id("slow-3");
    third.set_method("ListItems");
    third.mutable_duration()->set_seconds(3);
    return listed;
  }

  FakeRetrievalServer server_;
};

TEST_F(DiagnosticCommandsTest, SlowShowsWhereTheTimeWent) {
  server_.AnswerSlowRequests(SlowRequests());
  const Outcome outcome = Run({"slow"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(
      outcome.out,
      R"(when                      method          code                   ms  queue  encode  recall  rerank  select  pairs  client      request id
2026-01-02T03:04:05.000Z  SearchImages    OK                 2000.0  250.0     0.0     0.0  1000.0     0.0     90  name:robot  slow-1
1970-01-01T00:00:00.000Z  SearchCaptions  DEADLINE_EXCEEDED   500.0                                                            slow-2
1970-01-01T00:00:00.000Z  ListItems       OK                 3000.0                                                            slow-3

3 calls that took 1s or until their deadline; the newest 64 are kept
)");
  EXPECT_FALSE(server_.last_slow_requests_request().with_requests());
}

TEST_F(DiagnosticCommandsTest, SlowSaysWhyThereIsNothing) {
  EXPECT_EQ(Run({"slow"}).out, "the server keeps no slow calls\n");
  v1::ListSlowRequestsResponse none = SlowRequests();
  none.clear_slow_requests();
  server_.AnswerSlowRequests(none);
  EXPECT_EQ(Run({"slow"}).out, "no call was slow: none took 1s or until its deadline\n");
}

TEST_F(DiagnosticCommandsTest, AReplayComparesThenAndNow) {
  server_.AnswerSlowRequests(SlowRequests());
  server_.AnswerImages(SampleImages(v1::RESULT_VIEW_FULL));
  const Outcome outcome = Run({"replay", "slow-1"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(server_.last_images_request().text(), "two dogs");
  EXPECT_TRUE(server_.last_slow_requests_request().with_requests());
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("slow-1      SearchImages  then  2000.0  250.0"),
                                 HasSubstr("\n                          now ")));

  const nlohmann::json json = nlohmann::json::parse(Run({"replay", "slow-1", "--json"}).out);
  EXPECT_EQ(json["replays"][0]["then"]["seconds"], 2);
  EXPECT_EQ(json["replays"][0]["then"]["reranked_count"], 90);
  EXPECT_EQ(json["replays"][0]["now"]["reranked_count"],
            SampleImages(v1::RESULT_VIEW_FULL).stats().reranked_count());
}

TEST_F(DiagnosticCommandsTest, AFileOfSlowCallsIsReplayedCallByCall) {
  server_.AnswerSlowRequests(SlowRequests());
  const std::string path = testing::TempDir() + "/slow.json";
  std::ofstream(path) << Run({"slow", "--requests", "--json"}).out;
  const Outcome outcome = Run({"replay", "--file", path});
  EXPECT_EQ(outcome.exit_code, 3) << "one of them could not be made again";
  EXPECT_EQ(server_.last_captions_request().image_id(), "scene-3");
  EXPECT_THAT(outcome.out, HasSubstr("slow-2"));
  EXPECT_THAT(outcome.err, HasSubstr("error: slow-3: the call slow-3 has no request"));
}

TEST_F(DiagnosticCommandsTest, WrongUseIsExplained) {
  server_.AnswerSlowRequests(SlowRequests());
  EXPECT_THAT(Run({"replay"}).err, HasSubstr("one of REQUEST_ID and --file FILE is needed"));
  const Outcome unknown = Run({"replay", "slow-9"});
  EXPECT_EQ(unknown.exit_code, 4);
  EXPECT_THAT(unknown.err, HasSubstr("keeps no slow call slow-9; see dime slow"));
  const std::string path = testing::TempDir() + "/not-slow.json";
  std::ofstream(path) << "{\"slow_requests\": 7}";
  const Outcome broken = Run({"replay", "--file", path});
  EXPECT_EQ(broken.exit_code, 3);
  EXPECT_THAT(broken.err,
              HasSubstr("not-slow.json is not what dime slow --requests --json writes"));
}

TEST_F(DiagnosticCommandsTest, AnErrorNamesItsCall) {
  server_.NameCalls("call-7");
  server_.FailNext(DetailedStatus(grpc::StatusCode::INVALID_ARGUMENT, "it failed", "SOME_REASON"),
                   2);
  EXPECT_EQ(Run({"search-images", "x"}).err,
            "error: it failed [INVALID_ARGUMENT, SOME_REASON] (request call-7)\n");
  EXPECT_EQ(nlohmann::json::parse(Run({"search-images", "x", "--json"}).err)["error"]["request_id"],
            "call-7");
}

}  // namespace
}  // namespace dime
