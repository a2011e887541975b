#include "benchmarks/search_load.h"

#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_retrieval_server.h"

namespace dime {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

class SearchLoadTest : public ::testing::Test {
 protected:
  // One call, as a driver makes it.
  CallOutcome CallOnce(SearchQueries queries, int64_t number,
                       absl::Duration deadline = absl::Seconds(30)) {
    v1::SearchOptions options;
    options.set_top_k(7);
    options.set_view(v1::RESULT_VIEW_FULL);
    const SearchLoad load(channel_, std::move(queries), options);
    LoadDriver driver([&](int64_t, absl::Time due,
                          LoadDriver::Done done) { load.Call(number, due, std::move(done)); },
                      deadline);
    const std::vector<CallOutcome> records = driver.RunOpen({absl::ZeroDuration()});
    EXPECT_THAT(records, SizeIs(1));
    return records.at(0);
  }

  FakeRetrievalServer server_;
  const std::shared_ptr<grpc::Channel> channel_ = MakeLoadChannel(server_.address());
};

TEST_F(SearchLoadTest, SendsTheQueriesInTurnWithItsOptions) {
  const SearchQueries queries{.texts = {"a red star", "a blue heart"}};
  EXPECT_EQ(CallOnce(queries, 3).code, absl::StatusCode::kOk);
  EXPECT_EQ(server_.last_images_request().text(), "a blue heart");
  EXPECT_EQ(server_.last_images_request().options().top_k(), 7);
  CallOnce(queries, 4);
  EXPECT_EQ(server_.last_images_request().text(), "a red star");
  CallOnce({.image_ids = {"image-5"}}, 0);
  EXPECT_EQ(server_.last_captions_request().image_id(), "image-5");
}

TEST_F(SearchLoadTest, ReadsTheStagesOfAnAnswer) {
  v1::SearchImagesResponse response;
  response.mutable_stats()->mutable_total_time()->set_nanos(20'000'000);
  response.mutable_stats()->mutable_encode_time()->set_nanos(6'000'000);
  response.mutable_stats()->mutable_rerank_time()->set_nanos(9'000'000);
  server_.AnswerImages(response);
  const CallOutcome record = CallOnce({.texts = {"a star"}}, 0);
  ASSERT_TRUE(record.has_stages);
  EXPECT_FALSE(record.degraded);
  EXPECT_EQ(record.stages.encode, absl::Milliseconds(6));
  EXPECT_EQ(record.stages.rerank, absl::Milliseconds(9));
  EXPECT_EQ(record.stages.rest(), absl::Milliseconds(5));
  server_.AnswerImages({});
  EXPECT_FALSE(CallOnce({.texts = {"a star"}}, 0).has_stages);
}

TEST_F(SearchLoadTest, TellsADegradedAnswer) {
  v1::SearchCaptionsResponse response;
  response.mutable_degradation()->add_reasons(v1::DEGRADATION_REASON_DEADLINE);
  server_.AnswerCaptions(response);
  const CallOutcome record = CallOnce({.image_ids = {"image-1"}}, 0);
  EXPECT_EQ(record.code, absl::StatusCode::kOk);
  EXPECT_TRUE(record.degraded);
}

TEST_F(SearchLoadTest, AnErrorIsSeenAndNotTriedAgain) {
  server_.FailNext(DetailedStatus(grpc::StatusCode::RESOURCE_EXHAUSTED, "full", "QUEUE_FULL"));
  EXPECT_EQ(CallOnce({.texts = {"a star"}}, 0).code, absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(server_.calls(), 1);
}

TEST_F(SearchLoadTest, ACallEndsAtItsDeadline) {
  server_.Hang();
  EXPECT_EQ(CallOnce({.texts = {"a star"}}, 0, absl::Milliseconds(30)).code,
            absl::StatusCode::kDeadlineExceeded);
}

TEST_F(SearchLoadTest, MadeUpFeaturesHaveTheModelsSizesAndAreFinite) {
  v1::GetInfoResponse info;
  info.mutable_model()->set_num_regions(3);
  info.mutable_model()->set_feature_dim(5);
  server_.AnswerInfo(info);
  const auto queries = MakeFeatures(channel_, 4);
  ASSERT_TRUE(queries.ok()) << queries.status();
  ASSERT_THAT(queries->features, SizeIs(4));
  for (const v1::RegionFeatures& features : queries->features) {
    EXPECT_EQ(features.num_regions(), 3);
    EXPECT_EQ(features.feature_dim(), 5);
    ASSERT_THAT(features.float16(), SizeIs(3 * 5 * 2));
    for (size_t i = 1; i < features.float16().size(); i += 2) {
      // All bits of the exponent set: an infinity or a NaN.
      EXPECT_NE(static_cast<unsigned char>(features.float16()[i]) & 0x7C, 0x7C);
    }
  }
  EXPECT_NE(queries->features[0].float16(), queries->features[1].float16());
}

TEST(ReadTextsTest, TakesTheLinesThatAreNotEmpty) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/dime_load_texts.txt");
  std::ofstream(path) << "a star\n\na heart\na cross\n";
  const auto queries = ReadTexts(path, 2);
  ASSERT_TRUE(queries.ok()) << queries.status();
  EXPECT_THAT(queries->texts, ElementsAre("a star", "a heart"));
  std::ofstream(path) << "\n";
  EXPECT_EQ(ReadTexts(path, 2).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadTexts("/no/such/file", 2).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace dime
