#include "client/pair_attention.h"

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/sample_responses.h"

namespace dime {
namespace {

using ::testing::HasSubstr;

std::vector<PairAttention> Read(const v1::ExplainPairResponse& response) {
  auto directions = PairAttention::FromResponse(response);
  EXPECT_TRUE(directions.ok()) << directions.status();
  return *std::move(directions);
}

TEST(PairAttentionTest, TheLayersTogetherCountByTheirWeights) {
  v1::ExplainPairResponse response = SampleExplanation();
  v1::CellAttention* last = response.mutable_directions(0)->mutable_cells(2);
  last->set_attention(6, 0.3f);  // "red" in region 1; layer 0 has 0.7
  const std::vector<PairAttention> directions = Read(response);
  ASSERT_EQ(directions.size(), 2u);
  EXPECT_TRUE(directions[0].RegionsAttend());
  EXPECT_FALSE(directions[1].RegionsAttend());
  EXPECT_EQ(directions[0].num_words, 4);
  EXPECT_EQ(directions[0].num_regions, 5);
  EXPECT_FLOAT_EQ(directions[0].overall[6], 0.25f * 0.7f + 0.75f * 0.3f);
  EXPECT_FLOAT_EQ(directions[1].overall[6], 0.6f);
  EXPECT_FLOAT_EQ(directions[0].EvenShare(), 0.25f);
  EXPECT_FLOAT_EQ(directions[1].EvenShare(), 0.2f);
  EXPECT_THAT(directions[0].special, testing::ElementsAre(true, false, false, true));
}

TEST(PairAttentionTest, ShutCellsHaveNoPart) {
  v1::ExplainPairResponse response = SampleExplanation();
  for (v1::CellAttention& cell : *response.mutable_directions(0)->mutable_cells()) {
    cell.set_weight(0);
  }
  const std::vector<PairAttention> directions = Read(response);
  EXPECT_FALSE(directions[0].TookPart());
  EXPECT_THAT(directions[0].overall, testing::Each(0));
  EXPECT_TRUE(directions[1].TookPart());
}

TEST(PairAttentionTest, TheStrongestLinksComeFirstWithoutSpecialTokens) {
  const std::vector<PairAttention> directions = Read(SampleExplanation());
  const std::vector<PairAttention::Link> links =
      directions[1].StrongestLinks(directions[1].overall, 3);
  ASSERT_EQ(links.size(), 3u);
  EXPECT_EQ(links[0].word, 1);
  EXPECT_EQ(links[0].region, 1);
  EXPECT_FLOAT_EQ(links[0].share, 0.6f);
  EXPECT_EQ(links[1].word, 2);
  EXPECT_EQ(links[1].region, 3);
  EXPECT_EQ(links[2].word, 2);
  EXPECT_EQ(links[2].region, 2);
  EXPECT_EQ(directions[1].StrongestLinks(directions[1].overall, 1000).size(), 10u);
  EXPECT_EQ(directions[1].LinksOf(directions[1].overall, 2, 1)[0].region, 3);
}

TEST(PairAttentionTest, SpecialTokensThatTakeMostAreNotHidden) {
  v1::ExplainPairResponse response = SampleExplanation();
  EXPECT_LT(Read(response)[0].SpecialShare(Read(response)[0].overall), 0.5f);
  for (v1::DirectionExplanation& direction : *response.mutable_directions()) {
    for (v1::CellAttention& cell : *direction.mutable_cells()) {
      for (int r = 0; r < 5; ++r) {
        for (int w = 0; w < 4; ++w) cell.set_attention(5 * w + r, w == 0 ? 0.7f : 0.1f);
      }
    }
  }
  const std::vector<PairAttention> directions = Read(response);
  EXPECT_FLOAT_EQ(directions[0].SpecialShare(directions[0].overall), 0.8f);
  EXPECT_TRUE(directions[0].SpecialTokensLead(directions[0].overall));
  EXPECT_EQ(directions[0].StrongestLinks(directions[0].overall, 1)[0].word, 0);
  // Where words look at regions, each word's attention is its own: none is taken from others.
  EXPECT_FALSE(directions[1].SpecialTokensLead(directions[1].overall));
  EXPECT_NE(directions[1].StrongestLinks(directions[1].overall, 1)[0].word, 0);
}

TEST(PairAttentionTest, AWordThatLooksLikeASpecialTokenIsOneOnlyInItsPlace) {
  v1::ExplainPairResponse response = SampleExplanation();
  response.set_words(1, "[SEP]");
  response.set_words(0, "red");
  EXPECT_THAT(Read(response)[0].special, testing::ElementsAre(false, false, false, true));
}

TEST(PairAttentionTest, AnswersThatDoNotFitTogetherAreRefused) {
  using Spoil = std::function<void(v1::ExplainPairResponse&)>;
  const std::vector<std::pair<std::string, Spoil>> cases = {
      {"0 words", [](auto& r) { r.clear_words(); }},
      {"0 regions", [](auto& r) { r.set_num_regions(0); }},
      {"-5 regions", [](auto& r) { r.set_num_regions(-5); }},
      {"attention weights", [](auto& r) { r.set_num_regions(2000000000), r.clear_boxes(); }},
      {"attention weights", [](auto& r) { r.add_words("more"); }},
      {"twice", [](auto& r) { r.mutable_directions(1)->set_direction(v1::SCORE_MODE_I2T); }},
      {"no cells",
       [](auto& r) {
         r.set_num_regions(2000000000);
         r.clear_boxes();
         for (auto& direction : *r.mutable_directions()) direction.clear_cells();
       }},
      {"4 boxes", [](auto& r) { r.mutable_boxes()->RemoveLast(); }},
      {"attention weights",
       [](auto& r) { r.mutable_directions(1)->mutable_cells(2)->clear_attention(); }},
      {"no share",
       [](auto& r) { r.mutable_directions(0)->mutable_cells(0)->set_attention(3, std::nanf("")); }},
      {"no share",
       [](auto& r) { r.mutable_directions(0)->mutable_cells(0)->set_attention(3, -0.1f); }},
      {"no share",
       [](auto& r) { r.mutable_directions(0)->mutable_cells(0)->set_weight(INFINITY); }},
  };
  for (const auto& [words, spoil] : cases) {
    v1::ExplainPairResponse response = SampleExplanation();
    spoil(response);
    const absl::Status status = PairAttention::FromResponse(response).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << words;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  }
  v1::ExplainPairResponse newer = SampleExplanation();
  newer.mutable_directions(0)->set_direction(static_cast<v1::ScoreMode>(17));
  EXPECT_EQ(Read(newer).size(), 1u);
}

}  // namespace
}  // namespace dime
