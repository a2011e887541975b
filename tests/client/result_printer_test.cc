#include "client/result_printer.h"

#include <algorithm>
#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/sample_responses.h"

namespace dime {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(ResultPrinterTest, BasicImages) {
  EXPECT_EQ(FormatImages(SampleImages(v1::RESULT_VIEW_BASIC), {}),
            "#    score  image      pixels    uri\n"
            "1   0.8123  scene-0    120x120   images/scene-0.png\n"
            "2   0.7000  scene-121  1024x120  images/scene-121.png\n"
            "3  -0.0500  scene-122  120x120   images/scene-122.png\n");
}

TEST(ResultPrinterTest, ADegradedAnswerSaysSo) {
  v1::SearchImagesResponse images = SampleImages(v1::RESULT_VIEW_BASIC);
  EXPECT_THAT(FormatImages(images, {}), Not(HasSubstr("degraded")));
  images.mutable_degradation()->add_reasons(v1::DEGRADATION_REASON_DEADLINE);
  images.mutable_degradation()->set_reranked_count(40);
  images.mutable_degradation()->set_wanted_count(100);
  EXPECT_THAT(FormatImages(images, {}),
              HasSubstr("\ndegraded: 40 of 100 candidates were reranked (too little time was "
                        "left)\n"));
  images.mutable_degradation()->set_reranked_count(0);
  EXPECT_THAT(FormatImages(images, {}),
              HasSubstr("nothing was reranked, this is the coarse order"));
}

TEST(ResultPrinterTest, ColumnsThatWouldBeEmptyAreLeftOut) {
  v1::SearchImagesResponse images = SampleImages(v1::RESULT_VIEW_BASIC);
  for (v1::ImageHit& hit : *images.mutable_hits()) {
    hit.clear_uri();
    hit.clear_width();
  }
  EXPECT_EQ(FormatImages(images, {}),
            "#    score  image\n"
            "1   0.8123  scene-0\n"
            "2   0.7000  scene-121\n"
            "3  -0.0500  scene-122\n");
}

TEST(ResultPrinterTest, BasicCaptionsWrapAndKeepTheirColumns) {
  EXPECT_EQ(FormatCaptions(SampleCaptions(v1::RESULT_VIEW_BASIC), {.width = 60}),
            "#    score  id         caption\n"
            "1   0.8123  scene-7#0  Two dogs run along the beach while a\n"
            "                       man in a red jacket throws a stick\n"
            "                       into the sea\n"
            "2   0.7000  scene-7#1  两只狗在海滩上奔跑\n"
            "3  -0.0500  scene-7#2  A café terrace\n");
}

TEST(ResultPrinterTest, ImagesOfCaptionsAreShownUnlessTheIdsSayThem) {
  v1::SearchCaptionsResponse captions = SampleCaptions(v1::RESULT_VIEW_BASIC);
  captions.mutable_hits()->DeleteSubrange(0, 2);
  captions.mutable_hits(0)->set_id("8412");
  EXPECT_EQ(FormatCaptions(captions, {}),
            "#    score  id    image    caption\n"
            "1  -0.0500  8412  scene-7  A café terrace\n");
}

TEST(ResultPrinterTest, FullShowsHowHitsCameByTheirPlaces) {
  EXPECT_EQ(FormatImages(SampleImages(v1::RESULT_VIEW_FULL), {}),
            "#    score      i2t      t2i  coarse  from  moved  image      pixels    uri\n"
            "1   0.8123   0.8023   0.8223  0.5500    17    +16  scene-0    120x120   "
            "images/scene-0.png\n"
            "2   0.7000   0.6900   0.7100  0.9000     1     -1  scene-121  1024x120  "
            "images/scene-121.png\n"
            "3  -0.0500  -0.0600  -0.0400  0.5100     3      =  scene-122  120x120   "
            "images/scene-122.png\n"
            "\n"
            "3 hits of 64 reranked in 5.9 ms: queue 0.1, encode 2.0, recall 0.3, rerank 3.4, "
            "select 0.1\n"
            "gallery 4be1a2c0ffee, model 8f3a51e0d2c4\n");
}

TEST(ResultPrinterTest, AFusedScoreIsShownWithItsParts) {
  v1::SearchImagesResponse images = SampleImages(v1::RESULT_VIEW_FULL);
  images.mutable_hits()->DeleteSubrange(1, 2);
  images.mutable_hits(0)->mutable_details()->set_rerank_score(0.9f);
  images.mutable_stats()->set_fusion_weight(0.25f);
  images.mutable_stats()->set_reranked_count(24);
  EXPECT_EQ(FormatImages(images, {}),
            "#   score     i2t     t2i  rerank  coarse  from  moved  image    pixels   uri\n"
            "1  0.8123  0.8023  0.8223  0.9000  0.5500    17    +16  scene-0  120x120  "
            "images/scene-0.png\n"
            "\n"
            "1 hit of 24 reranked of 64 recalled in 5.9 ms: queue 0.1, encode 2.0, recall 0.3, "
            "rerank 3.4, select 0.1\n"
            "score = 0.75 x rerank + 0.25 x coarse\n"
            "gallery 4be1a2c0ffee, model 8f3a51e0d2c4\n");
}

TEST(ResultPrinterTest, WithoutRerankingThereIsTheCoarseScoreAlone) {
  v1::SearchImagesResponse images = SampleImages(v1::RESULT_VIEW_FULL);
  for (v1::ImageHit& hit : *images.mutable_hits()) {
    hit.mutable_details()->clear_i2t_score();
    hit.mutable_details()->clear_t2i_score();
    hit.mutable_details()->clear_rerank_score();
  }
  images.mutable_stats()->set_fusion_weight(1);
  images.mutable_stats()->set_reranked_count(0);
  const std::string text = FormatImages(images, {});
  EXPECT_THAT(text, HasSubstr("#    score  coarse  from"));
  EXPECT_THAT(text, HasSubstr("3 hits of 64 recalled, none reranked, in 5.9 ms"));
  EXPECT_THAT(text, HasSubstr("score = 0 x rerank + 1 x coarse\n"));
}

TEST(ResultPrinterTest, FullOfOneDirectionHasOneColumnOfItsScores) {
  v1::SearchCaptionsResponse captions = SampleCaptions(v1::RESULT_VIEW_FULL);
  for (v1::CaptionHit& hit : *captions.mutable_hits()) hit.mutable_details()->clear_t2i_score();
  const std::string text = FormatCaptions(captions, {});
  EXPECT_THAT(text, HasSubstr("i2t"));
  EXPECT_THAT(text, Not(HasSubstr("t2i")));
}

TEST(ResultPrinterTest, SaysThatTheTextWasCut) {
  v1::SearchImagesResponse images = SampleImages(v1::RESULT_VIEW_FULL);
  EXPECT_THAT(FormatImages(images, {}), Not(HasSubstr("left out")));
  images.mutable_stats()->set_text_truncated(true);
  EXPECT_THAT(FormatImages(images, {}),
              HasSubstr("the text is longer than the model takes: its end was left out\n"));
}

TEST(ResultPrinterTest, ExplainDrawsAGridForEachDirection) {
  v1::SearchCaptionsResponse captions = SampleCaptions(v1::RESULT_VIEW_EXPLAIN);
  captions.mutable_hits()->DeleteSubrange(1, 2);
  captions.mutable_hits(0)->mutable_details()->mutable_routings()->DeleteSubrange(1, 1);
  const std::string grid =
      "\n"
      "#1  scene-7#0\n"
      "  i2t    layer 0 -> cell of layer 1    layer 1 -> cell of layer 2    layer 2\n"
      "           RIC   GLGC   IMRC   CMRC      RIC   GLGC   IMRC   CMRC     gate\n"
      "  RIC    ** 50  ** 50  ** 50  ** 50    ..  0  ..  0  ..  0      0    ##100\n"
      "  GLGC   :: 25  :: 25  :: 25  :: 25    ** 75  ** 75  ** 75      0    ## 80\n"
      "  IMRC   :: 25  :: 25  :: 25  :: 25    ..  5  ..  5  ..  5      0        0\n"
      "  CMRC       0      0      0      0    .. 20  .. 20  .. 20      0    :: 33\n"
      "\n"
      "Percent of a column's input that comes from a row's cell; unshaded: exactly 0.\n"
      "A column of zeros has all its gates shut and takes RIC's output.\n";
  const std::string text = FormatCaptions(captions, {.unicode = false});
  EXPECT_EQ(text.substr(text.size() - std::min(text.size(), grid.size())), grid);
  EXPECT_THAT(
      FormatCaptions(captions, {.unicode = true}),
      HasSubstr("  RIC    ▓▓ 50  ▓▓ 50  ▓▓ 50  ▓▓ 50    ░░  0  ░░  0  ░░  0      0    ██100\n"
                "  GLGC   ▒▒ 25  ▒▒ 25"));
}

TEST(ResultPrinterTest, ExplainSurvivesPathWeightsThatItDoesNotKnow) {
  v1::SearchImagesResponse images = SampleImages(v1::RESULT_VIEW_EXPLAIN);
  v1::Routing* routing = images.mutable_hits(0)->mutable_details()->mutable_routings(0);
  for (v1::PathWeight& weight : *routing->mutable_path_weights()) {
    weight.set_layer(std::numeric_limits<int32_t>::max());
  }
  routing->mutable_path_weights(0)->set_layer(-1);
  routing->mutable_path_weights(1)->set_layer(0);
  routing->mutable_path_weights(1)->set_cell(static_cast<v1::Cell>(77));
  routing->mutable_path_weights(2)->set_layer(0);
  routing->mutable_path_weights(2)->set_path(v1::CELL_UNSPECIFIED);
  routing->mutable_path_weights(3)->set_layer(2);
  routing->mutable_path_weights(3)->set_weight(std::numeric_limits<float>::quiet_NaN());
  EXPECT_THAT(FormatImages(images, {}),
              HasSubstr("  RIC        ?      ?      ?      ?        ?      ?      ?      ?        "
                        "?\n"));
}

TEST(ResultPrinterTest, NoHits) {
  EXPECT_EQ(FormatImages(v1::SearchImagesResponse(), {}), "no hits\n");
  EXPECT_EQ(FormatCaptions(v1::SearchCaptionsResponse(), {}), "no hits\n");
}

TEST(ResultPrinterTest, NothingOffTheWireActsOnTheTerminal) {
  v1::SearchImagesResponse images = SampleImages(v1::RESULT_VIEW_EXPLAIN);
  images.mutable_hits(0)->set_id("\x1b[2Jx");
  images.mutable_hits(0)->set_uri("a\rb\x07");
  images.set_gallery_version("\x1b]0;x");
  EXPECT_THAT(FormatImages(images, {}), Not(testing::ContainsRegex("[\x1b\r\x07]")));
  v1::GetInfoResponse info = SampleInfo();
  info.mutable_model()->set_name("\x1b[2J");
  EXPECT_THAT(FormatInfo(info, "x", {}), Not(HasSubstr("\x1b")));
}

TEST(ResultPrinterTest, Info) {
  EXPECT_EQ(FormatInfo(SampleInfo(), "127.0.0.1:8980", {}),
            "server   0.1.0 at 127.0.0.1:8980, ready since 2023-11-14 22:13:20 UTC\n"
            "gallery  scenes-test, version 4be1a2c0ffee00112233445566778899\n"
            "         1000 images (Flat), 5000 captions (IVF256,Flat)\n"
            "model    scenes on cpu, fingerprint "
            "8f3a51e0d2c4b6a798897a6b5c4d3e2f1a0b1c2d3e4f5061728394a5b6c7d8e9\n"
            "         36 regions of 288 features, 32 words\n"
            "         coarse embedding of 128 by heads trained for recall\n"
            "         i2t: E 64, 4 heads, clipped_l2norm, lambda 4\n"
            "         t2i: E 64, 4 heads, clipped_l2norm, lambda 9\n"
            "         score of i2t: coarse weighs 0.125 for images, 0 for captions\n"
            "         score of t2i: coarse weighs 0.25 for images, 0 for captions\n"
            "         score of ensemble (default): coarse weighs 0.125 for images, 0 for captions\n"
            "limits   top_k 100, rerank_depth 1000 (default 64 for images, 80 for captions)\n"
            "         search_effort 4096 (default the index's own for images, 32 for captions)\n"
            "         exact up to 20000 items, text of 2000 characters, requests of 16 MiB\n");
}

TEST(ResultPrinterTest, InfoOfAnEmptyServerIsShownToo) {
  EXPECT_THAT(FormatInfo(v1::GetInfoResponse(), "x:1", {}), HasSubstr("0 images, 0 captions"));
}

}  // namespace
}  // namespace dime
