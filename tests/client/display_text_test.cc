#include "client/display_text.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime {
namespace {

using ::testing::ElementsAre;

TEST(DisplayTextTest, WidthCountsColumnsNotBytes) {
  EXPECT_EQ(DisplayWidth(""), 0);
  EXPECT_EQ(DisplayWidth("abc"), 3);
  EXPECT_EQ(DisplayWidth("café"), 4);
  EXPECT_EQ(DisplayWidth("cafe\u0301"), 4);  // a combining accent
  EXPECT_EQ(DisplayWidth("两只狗"), 6);
  EXPECT_EQ(DisplayWidth("🐕"), 2);
  EXPECT_EQ(DisplayWidth("\xff"), 1);
}

TEST(DisplayTextTest, PrintableKeepsText) {
  for (const char* text : {"", "two dogs", "café 两只狗 🐕", "e\u0301", "שלום"}) {
    EXPECT_EQ(Printable(text), text);
  }
}

TEST(DisplayTextTest, PrintableDefusesWhatActsOnATerminal) {
  EXPECT_EQ(Printable("a\tb\nc\r\nd"), "a b c  d");
  EXPECT_EQ(Printable("\x1b[31mred"), "\uFFFD[31mred");
  EXPECT_EQ(Printable(absl::string_view("a\0b", 3)), "a\uFFFDb");
  EXPECT_EQ(Printable("\u0085\u009B"), "\uFFFD\uFFFD");  // C1 controls
  EXPECT_EQ(Printable("a\u202Eb"), "a\uFFFDb");          // right-to-left override
  EXPECT_EQ(Printable("a\u2028b\u00A0c"), "a b c");
  EXPECT_EQ(Printable("a\xC3(\xF0\x9F"), "a\uFFFD(\uFFFD\uFFFD");
}

TEST(DisplayTextTest, WrapsAtSpaces) {
  EXPECT_THAT(WrapText("a red cross and a heart", 11), ElementsAre("a red cross", "and a heart"));
  EXPECT_THAT(WrapText("a red cross", 0), ElementsAre("a red cross"));
  EXPECT_THAT(WrapText("", 10), ElementsAre(""));
}

TEST(DisplayTextTest, WrapsLongWordsAnywhereButInsideACharacter) {
  EXPECT_THAT(WrapText("x abcdefgh y", 4), ElementsAre("x", "abcd", "efgh", "y"));
  // A wide character that would only half fit goes to the next line.
  EXPECT_THAT(WrapText("两只狗在", 5), ElementsAre("两只", "狗在"));
  EXPECT_THAT(WrapText("aae\u0301", 3), ElementsAre("aae\u0301"));
  EXPECT_THAT(WrapText("狗", 1), ElementsAre("狗"));
}

TEST(DisplayTextTest, StylesOnlyWhereTheTerminalTakesThem) {
  EXPECT_EQ(Styled("+3", Style::kGood, {.color = true}), "\x1b[32m+3\x1b[0m");
  EXPECT_EQ(Styled("+3", Style::kGood, {.color = false}), "+3");
  EXPECT_EQ(Styled("", Style::kGood, {.color = true}), "");
}

}  // namespace
}  // namespace dime
