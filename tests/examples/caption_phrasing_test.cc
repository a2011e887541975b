#include "examples/scenes/caption_phrasing.h"

#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime::scenes {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsSubsetOf;
using ::testing::Not;

// All wordings that many draws bring.
std::set<std::string> Wordings(const Caption& caption) {
  std::set<std::string> wordings;
  for (uint64_t i = 0; i < 600; ++i) {
    RandomStream random({i});
    wordings.insert(PutIntoWords(caption, random));
  }
  return wordings;
}

const NounPhrase kOutlinedGreenCircle = {
    .shape = Shape::kCircle, .colour = Colour::kGreen, .fill = Fill::kOutlined};
const NounPhrase kYellowStar = {.shape = Shape::kStar, .colour = Colour::kYellow};

TEST(CaptionPhrasingTest, JoinsTwoThings) {
  const std::set<std::string> wordings = Wordings({.phrases = {kOutlinedGreenCircle, kYellowStar}});
  EXPECT_THAT(wordings, Contains("an outlined green circle and a yellow star"));
  EXPECT_THAT(wordings, Contains("there is a hollow green circle and a yellow star"));
}

TEST(CaptionPhrasingTest, SaysRelationsInBothOrders) {
  const std::set<std::string> wordings =
      Wordings({.phrases = {{.shape = Shape::kHeart}, kYellowStar},
                .relations = {{0, Relation::kLeftOf, 1}}});
  EXPECT_THAT(wordings, Contains("a heart is left of a yellow star"));
  EXPECT_THAT(wordings, Contains("a heart to the left of a yellow star"));
  EXPECT_THAT(wordings, Contains("to the left of a yellow star is a heart"));
  EXPECT_THAT(wordings, Each(Not(HasSubstr("of a heart"))));
  EXPECT_THAT(wordings, Each(Not(HasSubstr("right"))));
}

TEST(CaptionPhrasingTest, NumbersTakeThePlural) {
  const NounPhrase three_crosses = {.shape = Shape::kCross, .exact_count = 3};
  const std::set<std::string> wordings =
      Wordings({.phrases = {three_crosses, kYellowStar}, .relations = {{0, Relation::kAbove, 1}}});
  EXPECT_THAT(wordings, Contains("three crosses are above a yellow star"));
  EXPECT_THAT(wordings, Contains("there are three crosses above a yellow star"));
  EXPECT_THAT(wordings, Each(Not(HasSubstr(" is "))));
}

TEST(CaptionPhrasingTest, Totals) {
  const NounPhrase two_red = {.colour = Colour::kRed, .exact_count = 2};
  EXPECT_THAT(Wordings({.phrases = {two_red}, .total = 4}),
              Contains("four shapes, two of them red"));
  const NounPhrase one_red_star = {.shape = Shape::kStar, .colour = Colour::kRed, .exact_count = 1};
  EXPECT_THAT(Wordings({.phrases = {one_red_star}, .total = 3}),
              Contains("three shapes, one of them a red star"));
  EXPECT_THAT(Wordings({.phrases = {kOutlinedGreenCircle, kYellowStar}, .total = 2}),
              Contains("two shapes, an outlined green circle and a yellow star"));
}

TEST(CaptionPhrasingTest, ThreeThings) {
  const NounPhrase heart = {.shape = Shape::kHeart};
  const NounPhrase cross = {.shape = Shape::kCross};
  EXPECT_THAT(Wordings({.phrases = {heart, kYellowStar, cross}}),
              ::testing::ElementsAre("a heart, a yellow star and a cross"));
  EXPECT_THAT(Wordings({.phrases = {heart, kYellowStar, cross},
                        .relations = {{0, Relation::kBelow, 1}, {0, Relation::kBelow, 2}}}),
              IsSubsetOf({"a heart below both a yellow star and a cross",
                          "a heart under both a yellow star and a cross",
                          "a heart is below both a yellow star and a cross",
                          "a heart is under both a yellow star and a cross"}));
  EXPECT_THAT(
      Wordings({.phrases = {heart, kYellowStar, cross}, .relations = {{0, Relation::kAbove, 1}}}),
      Contains("a heart is above a yellow star, and a cross"));
}

}  // namespace
}  // namespace dime::scenes
