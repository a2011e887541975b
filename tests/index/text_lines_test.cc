#include "index/text_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace dime {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(TextLinesTest, SplitsAtLineFeedsOnly) {
  EXPECT_THAT(SplitLines("one\ntwo\r\nthree"), ElementsAre("one", "two", "three"));
  EXPECT_THAT(SplitLines("one\n"), ElementsAre("one"));
  EXPECT_THAT(SplitLines("one\n\n"), ElementsAre("one", ""));
  EXPECT_THAT(SplitLines(""), IsEmpty());
  EXPECT_THAT(SplitLines("\xEF\xBB\xBFone\x0Btwo\xE2\x80\xA8three\n"),
              ElementsAre("one\x0Btwo\xE2\x80\xA8three"));
}

TEST(TextLinesTest, KnowsUtf8) {
  EXPECT_TRUE(IsValidUtf8(""));
  EXPECT_TRUE(IsValidUtf8("a r\xC3\xA9sum\xC3\xA9 \xF0\x9F\x90\x95"));
  EXPECT_FALSE(IsValidUtf8("\xC3"));              // cut off
  EXPECT_FALSE(IsValidUtf8("\xC0\xAF"));          // overlong
  EXPECT_FALSE(IsValidUtf8("\xED\xA0\x80"));      // a surrogate
  EXPECT_FALSE(IsValidUtf8("\xF5\x80\x80\x80"));  // above U+10FFFF
}

TEST(QuotedTest, CutsLongTextsBetweenCharacters) {
  EXPECT_EQ(Quoted("two\nlines"), "\"two\\nlines\"");
  EXPECT_EQ(Quoted(std::string(64, 'a')), "\"" + std::string(64, 'a') + "\"");
  EXPECT_EQ(Quoted(std::string(65, 'a')), "\"" + std::string(64, 'a') + "...\"");
  // A two-byte character across the cut.
  EXPECT_EQ(Quoted(std::string(63, 'a') + "\xc3\xa9"), "\"" + std::string(63, 'a') + "...\"");
  EXPECT_EQ(Quoted("\xc3\xa9t\xc3\xa9"), "\"\xc3\xa9t\xc3\xa9\"");
  EXPECT_EQ(Quoted("a\xff"), "\"a\\xff\"");
}

}  // namespace
}  // namespace dime
