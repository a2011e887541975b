#include "model/two_stage_output.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/model/svg_elements.h"

namespace dime {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Of one query each: text to image ranks 3, 1, 0 (coarse, two-stage and exhaustive rerank).
TwoStageOutput SomeOutput() {
  TwoStageOutput output{.model = "m\"1", .data = "world", .split = "dev", .device = "cpu"};
  for (Modality target : {Modality::kImage, Modality::kCaption}) {
    TwoStageReport report(6, {.depths = {4, 6}, .fusion_weight = 1});
    report.Add({.coarse = std::vector<float>{0.9f, 0.8f, 0.7f, 0.6f, 0.5f, 0.4f},
                .rerank = std::vector<float>{0.3f, 0.5f, 0.2f, 0.6f, 0.1f, 0.7f},
                .first_own = 3});
    TwoStageOutput::Kind& kind = output.of(target);
    kind.fusion_weight = 1;
    kind.summary = report.Summarise();
    kind.coarse_search = {absl::Microseconds(10), absl::Microseconds(20)};
    kind.rerank_per_pair = absl::Milliseconds(2);
    if (target == Modality::kImage) kind.by_caption_kind = {{"count", kind.summary}};
  }
  return output;
}

TEST(TwoStageOutputTest, JsonHasAll) {
  const nlohmann::json json = nlohmann::json::parse(SomeOutput().Json());
  EXPECT_EQ(json["model"], "m\"1");
  EXPECT_EQ(json["direction"], "ensemble");
  const nlohmann::json& images = json["text_to_image"];
  EXPECT_EQ(images["queries"], 1);
  EXPECT_EQ(images["items"], 6);
  EXPECT_EQ(images["fusion_weight"], 1);
  EXPECT_EQ(images["coarse"]["mean_rank"], 4);
  ASSERT_EQ(images["depths"].size(), 2u);
  EXPECT_EQ(images["depths"][0]["depth"], 4);
  EXPECT_EQ(images["depths"][0]["pairs"], 4);
  EXPECT_EQ(images["depths"][0]["rerank"]["mean_rank"], 1);
  EXPECT_EQ(images["depths"][0]["fused"]["mean_rank"], 4);
  EXPECT_NEAR(images["depths"][0]["rerank"]["top10_recalled_percent"].get<double>(), 100 * 4 / 6.0,
              1e-9);
  EXPECT_DOUBLE_EQ(images["depths"][1]["coarse_ms_per_query"].get<double>(), 0.02);
  EXPECT_DOUBLE_EQ(images["depths"][1]["rerank_ms_per_query"].get<double>(), 12);
  EXPECT_EQ(images["exhaustive"]["rerank"]["mean_rank"], 2);
  EXPECT_EQ(images["exhaustive"]["pairs"], 6);
  EXPECT_EQ(images["depth_for_99_percent"]["rerank"], 6);
  EXPECT_EQ(images["by_caption_kind"]["count"]["queries"], 1);
  EXPECT_FALSE(json["image_to_text"].contains("by_caption_kind"));
  // R@1 0, R@5 100, R@10 100 in both directions; at depth 4 R@1 is 100 too.
  EXPECT_EQ(json["rsum"]["coarse"], 400);
  EXPECT_EQ(json["rsum"]["depths"][0]["rerank"], 600);
  EXPECT_EQ(json["rsum"]["depths"][0]["fused"], 400);
  EXPECT_EQ(json["rsum"]["exhaustive"]["rerank"], 400);
}

TEST(TwoStageOutputTest, TableTellsWhatWasMeasuredAndHow) {
  EXPECT_THAT(SomeOutput().Table(),
              AllOf(HasSubstr("text to image: 6 images searched, 1 of the 6 captions"),
                    HasSubstr("image to text: 6 captions searched, 1 of the 6 images"),
                    HasSubstr("100% of the fused score"), HasSubstr("from depth 6 on"),
                    HasSubstr("no trained heads"), HasSubstr("count"), HasSubstr("rsum"),
                    HasSubstr("times the depth"), Not(HasSubstr("nan"))));
}

TEST(TwoStageOutputTest, PlotHasEveryLineInBothDirections) {
  const auto counts = CountElements(SomeOutput().Plot());
  ASSERT_TRUE(counts.has_value());
  // R@1 and R@10, by rerank and by fused score, at depth and exhaustive; two panels.
  EXPECT_EQ(counts->at("polyline"), 16);
  EXPECT_THAT(SomeOutput().Plot(), AllOf(HasSubstr("text to image"), HasSubstr("image to text"),
                                   HasSubstr("R@10 exhaustive fused"), HasSubstr("m&quot;1")));
}

}  // namespace
}  // namespace dime
