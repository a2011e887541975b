#include "client/explanation_picture.h"

#include <cmath>
#include <optional>
#include <regex>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/sample_responses.h"

namespace dime {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

absl::StatusOr<std::string> Draw(const v1::ExplainPairResponse& response,
                                 const std::optional<PictureFile>& picture = std::nullopt,
                                 int top = 5) {
  return DrawExplanation(response, *PairAttention::FromResponse(response), picture, top);
}

// A region's box as drawn: its frame in a word's colour.
struct DrawnBox {
  double x, y, width, height, opacity;
  std::string colour;
};

std::vector<DrawnBox> BoxesOf(const std::string& svg) {
  static const std::regex pattern(
      "<rect x=\"([0-9.]+)\" y=\"([0-9.]+)\" width=\"([0-9.]+)\" height=\"([0-9.]+)\" "
      "fill=\"(#[0-9a-f]+)\" fill-opacity=\"[0-9.]+\" stroke=\"(#[0-9a-f]+)\" "
      "stroke-width=\"2.5\" stroke-opacity=\"([0-9.]+)\"");
  std::vector<DrawnBox> boxes;
  for (std::sregex_iterator it(svg.begin(), svg.end(), pattern), end; it != end; ++it) {
    boxes.push_back({std::stod((*it)[1]), std::stod((*it)[2]), std::stod((*it)[3]),
                     std::stod((*it)[4]), std::stod((*it)[7]), (*it)[6]});
  }
  return boxes;
}

TEST(ExplanationPictureTest, BoxesAreWhereTheRegionsAreAndTheClearerTheStronger) {
  const auto svg = Draw(SampleExplanation());
  ASSERT_TRUE(svg.ok()) << svg.status();
  const std::vector<DrawnBox> boxes = BoxesOf(*svg);
  // i2t: region 3 of "cross", region 1 of "red"; t2i: 2 and 3 of "cross", 1 of "red"; the strongest
  // last. A side is 440 wide for 100 pixels, and the right one begins 476 after the left.
  ASSERT_EQ(boxes.size(), 5u);
  const double left[] = {3, 1, 2, 3, 1};
  const double offset[] = {24, 24, 500, 500, 500};
  for (int b = 0; b < 5; ++b) {
    EXPECT_NEAR(boxes[b].x, offset[b] + left[b] * 20 * 4.4, 0.06) << b;
    EXPECT_NEAR(boxes[b].width, 20 * 4.4, 0.06) << b;
    EXPECT_NEAR(boxes[b].height, 50 * 4.4, 0.06) << b;
    EXPECT_EQ(boxes[b].y, boxes[0].y) << b;
  }
  const std::string cross = boxes[0].colour, red = boxes[1].colour;
  EXPECT_EQ(red, "#d62728");  // no other word's colour would do
  EXPECT_NE(cross, red);
  EXPECT_EQ(boxes[2].colour, cross);
  EXPECT_EQ(boxes[3].colour, cross);
  EXPECT_EQ(boxes[4].colour, red);
  EXPECT_EQ(boxes[1].opacity, 1);
  EXPECT_EQ(boxes[4].opacity, 1);
  EXPECT_LT(boxes[2].opacity, boxes[3].opacity);
  EXPECT_LT(boxes[3].opacity, 1);
  EXPECT_THAT(*svg, AllOf(HasSubstr(">red 70%<"), HasSubstr(">cross 60%<"), HasSubstr(">red 60%<"),
                          HasSubstr(">cross 50%<"), HasSubstr(">[CLS]<"),
                          HasSubstr("regions look at words"), HasSubstr("words look at regions")));
}

TEST(ExplanationPictureTest, ThePictureIsPutInWhole) {
  // Twice the image's size: boxes stay where they are.
  const PictureFile picture = {
      .bytes = SamplePng(200, 100), .media_type = "image/png", .width = 200, .height = 100};
  const auto svg = Draw(SampleExplanation(), picture);
  ASSERT_TRUE(svg.ok()) << svg.status();
  EXPECT_THAT(*svg, HasSubstr(absl::StrCat("data:image/png;base64,",
                                           absl::Base64Escape(picture.bytes), "\"")));
  EXPECT_THAT(*svg, HasSubstr("<image width=\"440.0\" height=\"220.0\""));
  EXPECT_NEAR(BoxesOf(*svg)[0].x, 24 + 3 * 20 * 4.4, 0.06);
}

TEST(ExplanationPictureTest, APictureOfOtherProportionsIsRefused) {
  const PictureFile picture = {.media_type = "image/png", .width = 100, .height = 100};
  const absl::Status status = Draw(SampleExplanation(), picture).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("100x100"), HasSubstr("100x50")));
}

TEST(ExplanationPictureTest, WithoutBoxesThereIsNothingToDraw) {
  v1::ExplainPairResponse response = SampleExplanation();
  response.clear_boxes();
  const absl::Status status = Draw(response).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("SPLIT_boxes.npy"));
}

TEST(ExplanationPictureTest, NoWordCanBreakTheDocument) {
  v1::ExplainPairResponse response = SampleExplanation();
  response.set_words(1, "</text><script>\"&'\x01\uFFFE");
  const auto svg = Draw(response);
  ASSERT_TRUE(svg.ok()) << svg.status();
  EXPECT_THAT(*svg,
              AllOf(Not(HasSubstr("<script>")), Not(HasSubstr("\x01")), Not(HasSubstr("\uFFFE")),
                    HasSubstr("&lt;/text&gt;&lt;script&gt;&quot;&amp;&#39;\uFFFD\uFFFD")));
}

TEST(ExplanationPictureTest, BoxesFromTheServerStayWithinThePicture) {
  v1::ExplainPairResponse response = SampleExplanation();
  response.mutable_boxes(1)->set_left(-1e30f);
  response.mutable_boxes(1)->set_bottom(1e30f);
  response.mutable_boxes(3)->set_top(std::nanf(""));
  const auto svg = Draw(response);
  ASSERT_TRUE(svg.ok()) << svg.status();
  const std::vector<DrawnBox> boxes = BoxesOf(*svg);
  ASSERT_EQ(boxes.size(), 3u);  // those of region 3 are nowhere
  EXPECT_NEAR(boxes[0].x, 24, 0.06);
  EXPECT_NEAR(boxes[0].width, 40 * 4.4, 0.06);
  EXPECT_NEAR(boxes[0].height, 50 * 4.4, 0.06);
  EXPECT_THAT(*svg, AllOf(Not(HasSubstr("nan")), Not(HasSubstr("inf"))));
}

TEST(ExplanationPictureTest, AsManyWordsAsAskedFor) {
  const auto svg = Draw(SampleExplanation(), std::nullopt, /*top=*/1);
  ASSERT_TRUE(svg.ok()) << svg.status();
  EXPECT_THAT(*svg, AllOf(HasSubstr(">red 70%<"), Not(HasSubstr(">cross 60%<"))));
}

TEST(ExplanationPictureTest, ShutCellsDrawNoBoxes) {
  v1::ExplainPairResponse response = SampleExplanation();
  response.mutable_directions()->RemoveLast();
  for (v1::CellAttention& cell : *response.mutable_directions(0)->mutable_cells()) {
    cell.set_weight(0);
  }
  const auto svg = Draw(response);
  ASSERT_TRUE(svg.ok()) << svg.status();
  EXPECT_TRUE(BoxesOf(*svg).empty());
  EXPECT_THAT(*svg, HasSubstr("gates are shut"));
}

}  // namespace
}  // namespace dime
