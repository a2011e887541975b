#include "client/cli.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "client/explanation_printer.h"
#include "client/result_printer.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/json_util.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/client/cli_run.h"
#include "tests/client/fake_retrieval_server.h"
#include "tests/client/sample_responses.h"

namespace dime {
namespace {

using ::google::protobuf::util::MessageDifferencer;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class CliTest : public ::testing::Test {
 protected:
  // Runs `dime ARGUMENTS... --address <the fake server>`.
  CliOutcome Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--address", server_.address()});
    return RunDime(std::move(arguments));
  }

  FakeRetrievalServer server_;
};

TEST_F(CliTest, SearchImagesShowsATable) {
  server_.AnswerImages(SampleImages(v1::RESULT_VIEW_FULL));
  const CliOutcome outcome = Run({"search-images", "two dogs"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, FormatImages(SampleImages(v1::RESULT_VIEW_FULL), {}));
  EXPECT_THAT(outcome.err, IsEmpty());

  v1::SearchImagesRequest expected;  // what is not asked for is left to the server
  expected.set_text("two dogs");
  expected.mutable_options();
  EXPECT_TRUE(MessageDifferencer::Equals(server_.last_images_request(), expected));
}

TEST_F(CliTest, SearchImagesCarriesEveryOption) {
  const CliOutcome outcome = Run({"search-images", "x", "--top-k", "5", "--rerank-depth", "200",
                                  "--exact", "--mode", "t2i", "--view", "explain", "--effort", "32",
                                  "--fusion-weight", "0.25", "--adaptive-depth"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  const v1::SearchOptions options = server_.last_images_request().options();
  EXPECT_EQ(options.top_k(), 5);
  EXPECT_EQ(options.rerank_depth(), 200);
  EXPECT_TRUE(options.exact());
  EXPECT_EQ(options.score_mode(), v1::SCORE_MODE_T2I);
  EXPECT_EQ(options.view(), v1::RESULT_VIEW_EXPLAIN);
  EXPECT_EQ(options.search_effort(), 32);
  EXPECT_EQ(options.fusion_weight(), 0.25f);
  EXPECT_TRUE(options.adaptive_depth());
}

TEST_F(CliTest, SearchesCarryWhatLeavesHitsOut) {
  const CliOutcome outcome =
      Run({"search-captions", "--image-id", "x", "--filter", "color = red", "--group-by",
           "image_id", "--group-size", "2", "--min-coarse-score", "0.1", "--min-rerank-score",
           "-0.5", "--min-final-score", "0.25", "--with-payload", "--page-token", "abc"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  const v1::SearchOptions options = server_.last_captions_request().options();
  EXPECT_EQ(options.filter(), "color = red");
  EXPECT_EQ(options.group_by(), "image_id");
  EXPECT_EQ(options.group_size(), 2);
  EXPECT_EQ(options.min_coarse_score(), 0.1f);
  EXPECT_EQ(options.min_rerank_score(), -0.5f);
  EXPECT_EQ(options.min_final_score(), 0.25f);
  EXPECT_TRUE(options.with_payload());
  EXPECT_TRUE(options.paged());
  EXPECT_EQ(options.page_token(), "abc");
}

TEST_F(CliTest, PayloadsAndTheNextPageAreShown) {
  v1::SearchImagesResponse response;
  v1::ImageHit& hit = *response.add_hits();
  hit.set_id("a");
  (*hit.mutable_payload()->mutable_fields())["color"].set_string_value("red");
  response.set_next_page_token("token-1");
  server_.AnswerImages(response);
  const CliOutcome outcome = Run({"search-images", "x", "--paged"});
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("{\"color\":\"red\"}"), HasSubstr("\nmore: --page-token token-1\n")));
}

TEST_F(CliTest, ModesAndViewsGoByTheirNames) {
  const std::vector<std::pair<std::string, v1::ScoreMode>> modes = {
      {"i2t", v1::SCORE_MODE_I2T},
      {"t2i", v1::SCORE_MODE_T2I},
      {"ensemble", v1::SCORE_MODE_ENSEMBLE}};
  for (const auto& [name, mode] : modes) {
    EXPECT_EQ(Run({"search-images", "x", "--mode", name}).exit_code, 0);
    EXPECT_EQ(server_.last_images_request().options().score_mode(), mode);
  }
  const std::vector<std::pair<std::string, v1::ResultView>> views = {
      {"basic", v1::RESULT_VIEW_BASIC},
      {"full", v1::RESULT_VIEW_FULL},
      {"explain", v1::RESULT_VIEW_EXPLAIN}};
  for (const auto& [name, view] : views) {
    EXPECT_EQ(Run({"search-captions", "--image-id", "x", "--view", name}).exit_code, 0);
    EXPECT_EQ(server_.last_captions_request().options().view(), view);
  }
}

// Values out of range are the server's to judge, which knows the limits.
TEST_F(CliTest, NumbersOfAnySizeReachTheServer) {
  EXPECT_EQ(Run({"search-images", "x", "--top-k", "0"}).exit_code, 0);
  EXPECT_TRUE(server_.last_images_request().options().has_top_k());
  EXPECT_EQ(server_.last_images_request().options().top_k(), 0);
  EXPECT_EQ(Run({"search-images", "x", "--top-k", "-7"}).exit_code, 0);
  EXPECT_EQ(server_.last_images_request().options().top_k(), -7);
  EXPECT_EQ(Run({"search-images", "x", "--fusion-weight", "0"}).exit_code, 0);
  EXPECT_TRUE(server_.last_images_request().options().has_fusion_weight());
  EXPECT_EQ(Run({"search-images", "x", "--fusion-weight", "-2.5"}).exit_code, 0);
  EXPECT_EQ(server_.last_images_request().options().fusion_weight(), -2.5f);
}

TEST_F(CliTest, TextsAreTakenAsTheyAre) {
  for (const std::string text :
       {"", " ", "info", "[a,b]", "{}", "%%", "'quoted'", "a\nb", "café 两只狗 🐕", "--", "x=1"}) {
    const CliOutcome outcome = Run({"search-images", "--", text});
    EXPECT_EQ(outcome.exit_code, 0) << text << outcome.err;
    EXPECT_EQ(server_.last_images_request().text(), text);
  }
  EXPECT_EQ(Run({"search-images", "info"}).exit_code, 0);
  EXPECT_EQ(server_.last_images_request().text(), "info");
  EXPECT_EQ(Run({"search-images", "", "--json"}).exit_code, 0);
  EXPECT_EQ(server_.last_images_request().text(), "");
  EXPECT_EQ(Run({"search-images", "--", "-5"}).exit_code, 0);
  EXPECT_EQ(server_.last_images_request().text(), "-5");
}

TEST_F(CliTest, SearchCaptionsById) {
  server_.AnswerCaptions(SampleCaptions(v1::RESULT_VIEW_BASIC));
  const CliOutcome outcome = Run({"search-captions", "--image-id", "scene-7", "--top-k", "3"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, FormatCaptions(SampleCaptions(v1::RESULT_VIEW_BASIC), {}));
  EXPECT_EQ(server_.last_captions_request().image_id(), "scene-7");
  EXPECT_EQ(server_.last_captions_request().options().top_k(), 3);

  EXPECT_EQ(Run({"search-captions", "--image-id", ""}).exit_code, 0);
  EXPECT_TRUE(server_.last_captions_request().has_image_id());
}

TEST_F(CliTest, SearchCaptionsByARowOfAFeaturesFile) {
  // (3, 2, 2) float32: 0, 1, 2, ...
  const std::string path = testing::TempDir() + "cli_test.npy";
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2, 2), }";
  header.append(117 - header.size(), ' ');
  std::ofstream file(path, std::ios::binary);
  file << std::string("\x93NUMPY\x01\x00\x76\x00", 10) << header << "\n";
  for (int i = 0; i < 12; ++i) {
    const float value = static_cast<float>(i);
    file.write(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  file.close();

  const CliOutcome outcome = Run({"search-captions", "--features", path, "--row", "1"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  const v1::RegionFeatures features = server_.last_captions_request().features();
  EXPECT_EQ(features.num_regions(), 2);
  EXPECT_EQ(features.feature_dim(), 2);
  EXPECT_THAT(features.values(), ElementsAre(4, 5, 6, 7));

  const CliOutcome no_such_row = Run({"search-captions", "--features", path, "--row", "3"});
  EXPECT_EQ(no_such_row.exit_code, 3);
  EXPECT_THAT(no_such_row.err, HasSubstr("rows are 0 to 2"));
  const CliOutcome which = Run({"search-captions", "--features", path});
  EXPECT_EQ(which.exit_code, 3);
  EXPECT_THAT(which.err, HasSubstr("choose one with --row"));
  std::remove(path.c_str());
}

TEST_F(CliTest, ABadFeaturesFileGivesItsError) {
  const CliOutcome missing = Run({"search-captions", "--features", "/no/such.npy"});
  EXPECT_EQ(missing.exit_code, 4);
  EXPECT_THAT(missing.err, AllOf(StartsWith("error: "), HasSubstr("/no/such.npy")));

  const std::string path = testing::TempDir() + "cli_test_bad.npy";
  std::ofstream(path) << "not an array";
  const CliOutcome malformed = Run({"search-captions", "--features", path});
  EXPECT_EQ(malformed.exit_code, 3);
  EXPECT_THAT(malformed.err, HasSubstr(path));
  EXPECT_EQ(server_.calls(), 0);
  std::remove(path.c_str());
}

TEST_F(CliTest, ExplainByText) {
  server_.AnswerExplanation(SampleExplanation());
  const CliOutcome outcome = Run({"explain", "red cross", "--image", "scene-7", "--top", "2"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out,
            FormatExplanation(SampleExplanation(),
                              *PairAttention::FromResponse(SampleExplanation()), 2, {}));
  v1::ExplainPairRequest expected;
  expected.set_text("red cross");
  expected.set_image_id("scene-7");
  EXPECT_TRUE(MessageDifferencer::Equals(server_.last_explain_request(), expected));
}

TEST_F(CliTest, ExplainByIdAsJson) {
  server_.AnswerExplanation(SampleExplanation());
  const CliOutcome outcome = Run(
      {"explain", "--caption-id", "scene-7#2", "--image-id", "scene-7", "--mode", "t2i", "--json"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  v1::ExplainPairResponse parsed;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(outcome.out, &parsed).ok());
  EXPECT_TRUE(MessageDifferencer::Equals(parsed, SampleExplanation()));
  EXPECT_EQ(server_.last_explain_request().caption_id(), "scene-7#2");
  EXPECT_EQ(server_.last_explain_request().score_mode(), v1::SCORE_MODE_T2I);
}

TEST_F(CliTest, ExplainDrawsThePictureThatIsGivenOrKnown) {
  const std::string svg_path = testing::TempDir() + "cli_test.svg";
  const std::string png_path = testing::TempDir() + "cli_test.png";
  std::ofstream(png_path, std::ios::binary) << SamplePng(100, 50);
  const auto drawing = [&svg_path] {
    std::ostringstream content;
    content << std::ifstream(svg_path).rdbuf();
    return content.str();
  };
  v1::ExplainPairResponse response = SampleExplanation();
  server_.AnswerExplanation(response);
  const std::vector<std::string> explain = {"explain", "red cross", "--image",
                                            "scene-7", "--svg",     svg_path};
  std::vector<std::string> with_picture = explain;
  with_picture.insert(with_picture.end(), {"--picture", png_path});
  const CliOutcome given = Run(with_picture);
  EXPECT_EQ(given.exit_code, 0) << given.err;
  EXPECT_THAT(given.out, testing::EndsWith(absl::StrCat("\nwrote ", svg_path, "\n")));
  EXPECT_THAT(drawing(), HasSubstr("data:image/png;base64,"));

  const CliOutcome plain = Run(explain);
  EXPECT_EQ(plain.exit_code, 0) << plain.err;
  EXPECT_THAT(plain.out, HasSubstr("without the picture: the gallery does not know where it is; "
                                   "--picture FILE gives one"));
  EXPECT_THAT(drawing(), AllOf(HasSubstr("<svg"), testing::Not(HasSubstr("data:image"))));

  response.set_image_uri(absl::StrCat("file://", png_path));
  server_.AnswerExplanation(response);
  EXPECT_EQ(Run(explain).exit_code, 0);
  EXPECT_THAT(drawing(), HasSubstr("data:image/png;base64,"));
  response.set_image_uri("https://example.org/scene-7.png");
  server_.AnswerExplanation(response);
  EXPECT_THAT(Run(explain).out, HasSubstr("scene-7.png is no file of this machine"));

  std::vector<std::string> missing = explain;
  missing.insert(missing.end(), {"--picture", "/no/such.png"});
  const CliOutcome no_picture = Run(missing);
  EXPECT_EQ(no_picture.exit_code, 4);
  EXPECT_THAT(no_picture.err, HasSubstr("/no/such.png"));
  response.clear_boxes();
  server_.AnswerExplanation(response);
  EXPECT_EQ(Run(explain).exit_code, 4);
  std::remove(svg_path.c_str());
  std::remove(png_path.c_str());
}

TEST_F(CliTest, AnExplanationThatDoesNotFitTogetherIsAFault) {
  v1::ExplainPairResponse response = SampleExplanation();
  response.add_words("more");
  server_.AnswerExplanation(response);
  const CliOutcome outcome = Run({"explain", "x", "--image", "a"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("does not fit together"));
}

TEST_F(CliTest, Info) {
  server_.AnswerInfo(SampleInfo());
  const CliOutcome outcome = Run({"info"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, FormatInfo(SampleInfo(), server_.address(), {}));
}

TEST_F(CliTest, HealthTellsByWordAndExitCode) {
  EXPECT_EQ(Run({"health"}).exit_code, 0);
  EXPECT_EQ(Run({"health"}).out, "serving\n");
  server_.SetServing(false);
  const CliOutcome draining = Run({"health"});
  EXPECT_EQ(draining.exit_code, 5);
  EXPECT_EQ(draining.out, "not serving\n");
  const nlohmann::json json = nlohmann::json::parse(Run({"health", "--json"}).out);
  EXPECT_EQ(json["service"], "dime.v1.RetrievalService");
  EXPECT_EQ(json["serving"], false);
  EXPECT_EQ(Run({"health", ""}).out, "serving\n") << "the server as a whole";
  const CliOutcome unknown = Run({"health", "lunch"});
  EXPECT_EQ(unknown.exit_code, 4);
  EXPECT_THAT(unknown.err, HasSubstr("the server knows no service \"lunch\""));
  EXPECT_EQ(RunDime({"--address", "127.0.0.1:1", "health"}).exit_code, 5);
}

TEST_F(CliTest, InfoWaitsForAServer) {
  server_.FailNext(grpc::Status(grpc::StatusCode::UNAVAILABLE, "starting"), 2);
  EXPECT_EQ(Run({"info", "--wait", "60s"}).exit_code, 0);
  EXPECT_EQ(server_.calls(), 4);  // two failures, the one waited for, and the one to show
  const CliOutcome nobody = RunDime({"info", "--wait", "50ms", "--address", DeadAddress()});
  EXPECT_EQ(nobody.exit_code, 5);
  EXPECT_THAT(nobody.err, AllOf(HasSubstr("no server answers at 127.0.0.1:"),
                                HasSubstr("no answer within 50ms")));
}

TEST_F(CliTest, JsonIsTheResponseUnderItsFieldNames) {
  server_.AnswerImages(SampleImages(v1::RESULT_VIEW_EXPLAIN));
  const CliOutcome outcome = Run({"search-images", "x", "--json"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  v1::SearchImagesResponse parsed;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(outcome.out, &parsed).ok());
  EXPECT_TRUE(MessageDifferencer::Equals(parsed, SampleImages(v1::RESULT_VIEW_EXPLAIN)));
  EXPECT_EQ(outcome.out.back(), '\n');

  const nlohmann::json json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json["hits"][0]["id"], "scene-0");
  EXPECT_EQ(json["hits"][0]["details"]["coarse_rank"], 17);
  EXPECT_EQ(json["hits"][0]["details"]["routings"][0]["path_weights"].size(), 36u);
  EXPECT_EQ(json["stats"]["total_time"], "0.005912345s");
}

TEST_F(CliTest, JsonHasFieldsWithoutAValueToo) {
  v1::SearchCaptionsResponse response;
  response.add_hits();
  server_.AnswerCaptions(response);
  const CliOutcome outcome = Run({"search-captions", "--image-id", "x", "--json"});
  const nlohmann::json json = nlohmann::json::parse(outcome.out);
  const nlohmann::json hit = {
      {"id", ""}, {"score", 0.0}, {"text", ""}, {"image_id", ""}, {"uri", ""}};
  EXPECT_EQ(json["hits"][0], hit);
  EXPECT_EQ(json["gallery_version"], "");

  server_.AnswerInfo(SampleInfo());
  EXPECT_EQ(nlohmann::json::parse(Run({"info", "--json"}).out)["limits"]["max_top_k"], 100);
}

TEST_F(CliTest, EveryKindOfFailureHasItsExitCode) {
  const std::vector<std::pair<grpc::StatusCode, int>> kinds = {
      {grpc::StatusCode::INTERNAL, 1},           {grpc::StatusCode::UNKNOWN, 1},
      {grpc::StatusCode::CANCELLED, 1},          {grpc::StatusCode::INVALID_ARGUMENT, 3},
      {grpc::StatusCode::NOT_FOUND, 4},          {grpc::StatusCode::FAILED_PRECONDITION, 4},
      {grpc::StatusCode::UNAVAILABLE, 5},        {grpc::StatusCode::DEADLINE_EXCEEDED, 6},
      {grpc::StatusCode::RESOURCE_EXHAUSTED, 7},
  };
  for (const auto& [code, exit_code] : kinds) {
    server_.FailNext(DetailedStatus(code, "it failed", "SOME_REASON"), 1, "-1");
    const CliOutcome outcome = Run({"search-images", "x"});
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    EXPECT_THAT(outcome.out, IsEmpty());
    EXPECT_EQ(outcome.err,
              absl::StrCat("error: it failed [",
                           absl::StatusCodeToString(static_cast<absl::StatusCode>(code)),
                           ", SOME_REASON]\n"));
  }
}

TEST_F(CliTest, ErrorsNameTheFields) {
  google::rpc::BadRequest bad_request;
  auto* violation = bad_request.add_field_violations();
  violation->set_field("text");
  violation->set_description("must not be empty");
  violation = bad_request.add_field_violations();
  violation->set_field("options.top_k");
  violation->set_description("must be 1 to 100, not 0");
  const grpc::Status status =
      DetailedStatus(grpc::StatusCode::INVALID_ARGUMENT, "two fields are wrong", "TEXT_EMPTY",
                     {ToAny(bad_request)});
  server_.FailNext(status, 2);
  EXPECT_EQ(Run({"search-images", "", "--top-k", "0"}).err,
            "error: two fields are wrong [INVALID_ARGUMENT, TEXT_EMPTY]\n"
            "  text: must not be empty\n"
            "  options.top_k: must be 1 to 100, not 0\n");

  const CliOutcome outcome = Run({"search-images", "", "--top-k", "0", "--json"});
  EXPECT_EQ(outcome.exit_code, 3);
  const nlohmann::json expected = nlohmann::json::parse(R"({"error": {
    "code": "INVALID_ARGUMENT", "exit_code": 3, "message": "two fields are wrong",
    "reason": "TEXT_EMPTY", "metadata": {},
    "field_violations": [
      {"field": "text", "description": "must not be empty"},
      {"field": "options.top_k", "description": "must be 1 to 100, not 0"}]}})");
  EXPECT_EQ(nlohmann::json::parse(outcome.err), expected);
}

TEST_F(CliTest, ErrorsTellWhenToTryAgainAndWhatWasNotFound) {
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_nanos(250000000);
  const grpc::Status full = DetailedStatus(grpc::StatusCode::RESOURCE_EXHAUSTED,
                                           "the queue is full", "QUEUE_FULL", {ToAny(retry)});
  server_.FailNext(full, 2, "-1");
  EXPECT_EQ(Run({"search-images", "x"}).err,
            "error: the queue is full; try again in 250ms [RESOURCE_EXHAUSTED, QUEUE_FULL]\n");
  EXPECT_EQ(nlohmann::json::parse(
                Run({"search-images", "x", "--json"}).err)["error"]["retry_delay_seconds"],
            0.25);

  google::rpc::ResourceInfo resource;
  resource.set_resource_type("image");
  resource.set_resource_name("scene-9");
  server_.FailNext(DetailedStatus(grpc::StatusCode::NOT_FOUND, "no image scene-9", "ITEM_NOT_FOUND",
                                  {ToAny(resource)}));
  const nlohmann::json json =
      nlohmann::json::parse(Run({"search-captions", "--image-id", "scene-9", "--json"}).err);
  EXPECT_EQ(json["error"]["resource"]["name"], "scene-9");
}

TEST_F(CliTest, ErrorsCannotActOnTheTerminal) {
  google::rpc::BadRequest bad_request;
  auto* violation = bad_request.add_field_violations();
  violation->set_field("a\nb");
  violation->set_description("\x1b[2J");
  server_.FailNext(
      DetailedStatus(grpc::StatusCode::INVALID_ARGUMENT, "x\ny\x1b[2J", "R", {ToAny(bad_request)}));
  EXPECT_EQ(Run({"info"}).err,
            "error: x y\uFFFD[2J [INVALID_ARGUMENT, R]\n"
            "  a b: \uFFFD[2J\n");
}

TEST_F(CliTest, TextThatIsNotUtf8IsNamed) {
  const CliOutcome outcome = Run({"search-images", "caf\xe9"});
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_EQ(outcome.err,
            "error: text must be valid UTF-8 [INVALID_ARGUMENT, TEXT_NOT_UTF8]\n"
            "  text: must be valid UTF-8\n");
}

TEST_F(CliTest, RetriesUntilTheServerAnswers) {
  server_.FailNext(DetailedStatus(grpc::StatusCode::UNAVAILABLE, "draining", "UNAVAILABLE"), 2,
                   "0");
  EXPECT_EQ(Run({"search-images", "x"}).exit_code, 0);
  EXPECT_EQ(server_.calls(), 3);
}

TEST_F(CliTest, ADeadlineThatPasses) {
  server_.Hang();
  const CliOutcome outcome = Run({"search-images", "x", "--deadline", "0.1"});
  EXPECT_EQ(outcome.exit_code, 6);
  EXPECT_EQ(outcome.err,
            absl::StrCat("error: no answer from ", server_.address(),
                         " within 100ms; --deadline allows more time [DEADLINE_EXCEEDED]\n"));
}

TEST(CliWithoutServerTest, NoServerSaysWhatToDo) {
  const std::string address = DeadAddress();
  const CliOutcome outcome = RunDime({"search-images", "x", "--address", address});
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_EQ(outcome.err,
            absl::StrCat("error: no server answers at ", address,
                         " (Connection refused); start one with dime_server --model DIR --gallery "
                         "DIR, or pass --address HOST:PORT [UNAVAILABLE]\n"));
  const CliOutcome json = RunDime({"info", "--json", "--address", address});
  EXPECT_EQ(json.exit_code, 5);
  EXPECT_EQ(nlohmann::json::parse(json.err)["error"]["code"], "UNAVAILABLE");
}

TEST_F(CliTest, TheAddressMayComeFromTheEnvironment) {
  server_.AnswerInfo(SampleInfo());
  setenv("DIME_ADDRESS", server_.address().c_str(), 1);
  EXPECT_EQ(RunDime({"info"}).exit_code, 0);
  EXPECT_EQ(RunDime({"info", "--address", DeadAddress()}).exit_code, 5);  // the flag goes first
  unsetenv("DIME_ADDRESS");
}

TEST_F(CliTest, ColoursForTerminalsUnlessForbidden) {
  server_.AnswerImages(SampleImages(v1::RESULT_VIEW_FULL));
  const Terminal terminal = {.width = 80, .color = true};
  const std::vector<std::string> arguments = {"search-images", "x", "--address", server_.address()};
  EXPECT_THAT(RunDime(arguments, terminal).out, HasSubstr("\x1b[32m+16\x1b[0m"));
  std::vector<std::string> plain = arguments;
  plain.push_back("--no-color");
  EXPECT_EQ(RunDime(plain, terminal).out,
            FormatImages(SampleImages(v1::RESULT_VIEW_FULL), {.width = 80}));
}

TEST_F(CliTest, WrongCommandLinesAreUsageErrors) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"bogus"}, "the commands are search-images, search-captions, explain, "},
      {{"--json-please", "info"}, "--json-please"},
      {{"info", "extra"}, "unexpected: extra"},
      {{"search-images"}, "text is required"},
      {{"search-images", "a", "red", "cross"},
       "unexpected: red cross; a text of several words must "
       "stand in quotes; see dime search-images --help"},
      {{"search-images", "x", "--top-k", "many"}, "--top-k = many"},
      {{"search-images", "x", "--top-k", "99999999999"}, "--top-k = 99999999999"},
      {{"search-images", "x", "--mode", "both"}, "both not in {i2t,t2i,ensemble}"},
      {{"search-images", "x", "--view", "all"}, "all not in {basic,full,explain}"},
      {{"search-captions"}, "one of --image-id ID and --features FILE is needed"},
      {{"search-captions", "--image-id", "a", "--features", "b"}, "--features"},
      {{"search-captions", "--image-id", "a", "--row", "1"}, "--row requires --features"},
      {{"explain", "--image", "a"}, "a caption is needed: TEXT in quotes, or --caption-id ID"},
      {{"explain", "x"}, "an image is needed: --image ID, or --features FILE"},
      {{"explain", "x", "--caption-id", "b", "--image", "a"}, "text excludes --caption-id"},
      {{"explain", "a", "red", "cross", "--image", "a"}, "must stand in quotes"},
      {{"explain", "x", "--image", "a", "--features", "b"}, "--image excludes --features"},
      {{"explain", "x", "--image", "a", "--picture", "b.png"}, "--picture requires --svg"},
      {{"explain", "x", "--image", "a", "--top", "0"}, "--top"},
      {{"info", "--deadline", "soon"}, "'soon' is no time longer than zero"},
      {{"info", "--deadline", "-1"}, "'-1' is no time longer than zero"},
      {{"info", "--deadline", "nan"}, "'nan' is no time longer than zero"},
      {{"info", "--wait", "0"}, "'0' is no time longer than zero"},
  };
  for (const auto& [arguments, complaint] : cases) {
    const CliOutcome outcome = Run(arguments);
    EXPECT_EQ(outcome.exit_code, 2) << complaint;
    EXPECT_THAT(outcome.out, IsEmpty());
    EXPECT_THAT(outcome.err, AllOf(StartsWith("error: "), HasSubstr(complaint)));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }
  EXPECT_EQ(RunDime({"info", "--address", ""}).exit_code, 2);
  EXPECT_EQ(server_.calls(), 0);

  const CliOutcome json = Run({"search-images", "--json"});
  EXPECT_EQ(json.exit_code, 2);
  EXPECT_EQ(nlohmann::json::parse(json.err)["error"]["code"], "USAGE");
}

TEST(CliWithoutServerTest, WithoutArgumentsItShowsHelp) {
  const CliOutcome outcome = RunDime({});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("Usage: dime"));
}

TEST(CliWithoutServerTest, HelpTellsTheExitCodes) {
  const CliOutcome outcome = RunDime({"--help"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("search-images"), HasSubstr("search-captions"),
                                 HasSubstr("DIME_ADDRESS"), HasSubstr("Exit codes"),
                                 HasSubstr("  7  the server is full")));
  for (const char* command :
       {"search-images", "search-captions", "explain", "info", "upsert-images", "upsert-captions",
        "delete", "get", "list", "stats", "snapshot", "restore"}) {
    const CliOutcome help = RunDime({command, "--help"});
    EXPECT_EQ(help.exit_code, 0);
    EXPECT_THAT(help.out, HasSubstr(absl::StrCat("Usage: dime ", command)));
    for (const absl::string_view line : absl::StrSplit(help.out, '\n'))
      EXPECT_LE(line.size(), 100u);
  }
}

TEST(CliWithoutServerTest, Version) {
  const CliOutcome outcome = RunDime({"--version"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.out, testing::MatchesRegex("dime [0-9.]+\ncommit .+\nbuild .+\n.+\n"));
}

}  // namespace
}  // namespace dime
