#include "client/text_table.h"

#include "gtest/gtest.h"

namespace dime {
namespace {

using Cell = TextTable::Cell;
constexpr TextTable::Align kLeft = TextTable::Align::kLeft;
constexpr TextTable::Align kRight = TextTable::Align::kRight;

TEST(TextTableTest, AlignsNumbersRightAndTextLeftWithoutTrailingBlanks) {
  TextTable table({{"#", kRight}, {"id"}, {"score", kRight}, {"note"}});
  table.AddRow({Cell("9"), Cell("a"), Cell("0.5"), Cell("first")});
  table.AddRow({Cell("10"), Cell("long id"), Cell("-0.25")});
  EXPECT_EQ(table.Render({}),
            " #  id       score  note\n"
            " 9  a          0.5  first\n"
            "10  long id  -0.25\n");
}

TEST(TextTableTest, WideCharactersKeepTheColumns) {
  TextTable table({{"caption"}, {"id"}});
  table.AddRow({Cell("两只狗"), Cell("1")});
  table.AddRow({Cell("cafe\u0301"), Cell("2")});
  EXPECT_EQ(table.Render({}),
            "caption  id\n"
            "两只狗   1\n"
            "cafe\u0301     2\n");
}

TEST(TextTableTest, WrapsTheLastColumnToTheTerminal) {
  TextTable table({{"id"}, {"caption", kLeft, /*wrap=*/true}});
  table.AddRow({Cell("a"), Cell("two dogs run along a beach at dusk")});
  table.AddRow({Cell("b"), Cell("short")});
  EXPECT_EQ(table.Render({.width = 28}),
            "id  caption\n"
            "a   two dogs run along a\n"
            "    beach at dusk\n"
            "b   short\n");
  EXPECT_EQ(table.Render({.width = 0}),
            "id  caption\n"
            "a   two dogs run along a beach at dusk\n"
            "b   short\n");
  // Narrower than is sensible: 20 columns for the text all the same.
  EXPECT_EQ(table.Render({.width = 5}),
            "id  caption\n"
            "a   two dogs run along a\n"
            "    beach at dusk\n"
            "b   short\n");
}

TEST(TextTableTest, CellsCannotBreakTheTable) {
  TextTable table({{"id"}, {"x"}});
  table.AddRow({Cell("a\nb\x1b[2J"), Cell("1")});
  EXPECT_EQ(table.Render({}),
            "id       x\n"
            "a b\uFFFD[2J  1\n");
}

TEST(TextTableTest, ColoursDoNotMoveColumns) {
  TextTable table({{"n", kRight}, {"x"}});
  table.AddRow({Cell("+1", Style::kGood), Cell("y")});
  EXPECT_EQ(table.Render({.color = true}),
            " \x1b[2mn\x1b[0m  \x1b[2mx\x1b[0m\n"
            "\x1b[32m+1\x1b[0m  y\n");
}

TEST(TextTableTest, WithoutRowsThereIsTheHeader) {
  EXPECT_EQ(TextTable({{"a"}, {"b"}}).Render({}), "a  b\n");
}

}  // namespace
}  // namespace dime
