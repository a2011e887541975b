#include "client/explanation_printer.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/sample_responses.h"

namespace dime {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Format(const v1::ExplainPairResponse& response, const Terminal& terminal = {},
                   int top = 3) {
  const auto directions = PairAttention::FromResponse(response);
  EXPECT_TRUE(directions.ok()) << directions.status();
  return FormatExplanation(response, *directions, top, terminal);
}

TEST(ExplanationPrinterTest, TellsTheWholeStory) {
  EXPECT_EQ(Format(SampleExplanation()), R"(red cross
score 0.5000, the mean of both directions; coarse 0.3750

i2t: the regions look at the words   score 0.4000
layer  flows on  strongest links: region, the word it looks at
0           25%  r1→red 70%, r3→cross 60%, r0→red 25%
1            0%  its gates are shut: it took no part in the score
2           75%  r1→red 70%, r3→cross 60%, r0→red 25%
[CLS] and [SEP] take 39% of the attention; links to them are left out

       0      most by
[CLS]  ▃▁▃▂▃  r0 25%, r2 25%
red    ▃█▃▂▃  r1 70%, r0 25%
cross  ▃▁▃▇▃  r3 60%, r0 25%
[SEP]  ▃▁▃▂▃  r0 25%, r2 25%
Full height: 70.0%; an even share would be 25.0%

t2i: the words look at the regions   score 0.6000
layer  flows on  strongest links: word, the region it looks at
0           25%  red→r1 60%, cross→r3 50%, cross→r2 30%
1            0%  its gates are shut: it took no part in the score
2           75%  red→r1 60%, cross→r3 50%, cross→r2 30%

       0      most at
[CLS]  ▃▃▃▃▃  r0 20%, r1 20%
red    ▁█▁▁▁  r1 60%, r0 10%
cross  ▁▁▄▇▁  r3 50%, r2 30%
[SEP]  ▃▃▃▃▃  r0 20%, r1 20%
Full height: 60.0%; an even share would be 20.0%

Regions (left,top-right,bottom in pixels of 100x50)
r0:0,0-20,50 r1:20,0-40,50 r2:40,0-60,50 r3:60,0-80,50

Attention is that of the cross-modal cells (CMRC), over the layers by how much of each flows on. The
other cells mix regions, or words, among themselves: it is what these cells looked at, not all that
made the score.
)");
}

TEST(ExplanationPrinterTest, WithoutUnicodeItDrawsInAscii) {
  const std::string text = Format(SampleExplanation(), {.unicode = false});
  EXPECT_THAT(text, AllOf(HasSubstr("cross  -.-#-  r3 60%"), HasSubstr("r1->red 70%")));
  for (const char c : text) EXPECT_GE(c, 0) << text;
}

TEST(ExplanationPrinterTest, ShutCellsAndLeadingSpecialTokensAreTold) {
  v1::ExplainPairResponse response = SampleExplanation();
  for (v1::CellAttention& cell : *response.mutable_directions(0)->mutable_cells()) {
    for (int r = 0; r < 5; ++r) {
      for (int w = 0; w < 4; ++w) cell.set_attention(5 * w + r, w == 0 ? 0.7f : 0.1f);
    }
  }
  for (v1::CellAttention& cell : *response.mutable_directions(1)->mutable_cells()) {
    cell.set_weight(0);
  }
  const std::string text = Format(response);
  EXPECT_THAT(text, AllOf(HasSubstr("[CLS] and [SEP] take 80% of the attention, most of it"),
                          HasSubstr("r0→[CLS] 70%"), Not(HasSubstr("most at"))));
}

TEST(ExplanationPrinterTest, LinesFitTheTerminal) {
  v1::ExplainPairResponse response = SampleExplanation();
  // 100 regions: the sample's five, twenty times over.
  response.set_num_regions(100);
  for (int r = 5; r < 100; ++r) *response.add_boxes() = response.boxes(r % 5);
  for (v1::DirectionExplanation& direction : *response.mutable_directions()) {
    for (v1::CellAttention& cell : *direction.mutable_cells()) {
      const std::vector<float> few(cell.attention().begin(), cell.attention().end());
      cell.clear_attention();
      for (int w = 0; w < 4; ++w) {
        for (int r = 0; r < 100; ++r) cell.add_attention(few[5 * w + r % 5]);
      }
    }
  }
  for (const int width : {60, 80}) {
    const std::string text = Format(response, {.width = width}, 8);
    EXPECT_THAT(text, HasSubstr(". Each column"));
    for (const absl::string_view line : absl::StrSplit(text, '\n')) {
      EXPECT_LE(DisplayWidth(line), width) << line;
    }
  }
}

TEST(ExplanationPrinterTest, WordsFromTheServerCannotActOnTheTerminal) {
  v1::ExplainPairResponse response = SampleExplanation();
  response.set_words(1, "\x1b[2J\nred");
  const std::string text = Format(response);
  EXPECT_THAT(text, AllOf(Not(HasSubstr("\x1b")), HasSubstr("\uFFFD[2J red")));
}

TEST(ExplanationPrinterTest, ItDoesWithoutBoxesAndWithOneDirection) {
  v1::ExplainPairResponse response = SampleExplanation();
  response.clear_boxes();
  response.mutable_directions()->RemoveLast();
  response.set_text_truncated(true);
  EXPECT_THAT(Format(response),
              AllOf(Not(HasSubstr("Regions (")), Not(HasSubstr("t2i")),
                    Not(HasSubstr("mean of both")), HasSubstr("its end was left out")));
}

TEST(ExplanationPrinterTest, TheCaptionIsPutTogetherFromItsPieces) {
  v1::ExplainPairResponse response;
  for (const char* word : {"[CLS]", "two", "cross", "##es", ",", "one", "[SEP]"}) {
    response.add_words(word);
  }
  EXPECT_EQ(CaptionOf(response), "two crosses , one");
}

}  // namespace
}  // namespace dime
