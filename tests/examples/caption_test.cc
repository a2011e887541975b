#include "examples/scenes/caption.h"

#include "gtest/gtest.h"
#include "tests/examples/scene_fixtures.h"

namespace dime::scenes {
namespace {

// Two red stars on the left, one above the other, the lower small; a blue square and, to the right
// of it, a red circle at the bottom:
//     star   .       .
//     star   .       .
//     .      square  circle
SceneFacts HandMade() {
  Scene scene;
  scene.objects = {
      ObjectAt(0, 0, Shape::kStar, Colour::kRed),
      ObjectAt(0, 1, Shape::kStar, Colour::kRed, Size::kSmall, Fill::kStriped),
      ObjectAt(1, 2, Shape::kSquare, Colour::kBlue),
      ObjectAt(2, 2, Shape::kCircle, Colour::kRed),
  };
  return SceneFacts(scene);
}

const NounPhrase kStar = {.shape = Shape::kStar};
const NounPhrase kTwoStars = {.shape = Shape::kStar, .exact_count = 2};
const NounPhrase kSquare = {.shape = Shape::kSquare};
const NounPhrase kCircle = {.shape = Shape::kCircle};
const NounPhrase kRedShape = {.colour = Colour::kRed};
const NounPhrase kStripedStar = {.shape = Shape::kStar, .fill = Fill::kStriped};

bool Holds(const Caption& caption) { return IsTrue(caption, HandMade()); }

TEST(CaptionTest, AttributesMustMeetInOneObject) {
  EXPECT_TRUE(Holds({.phrases = {kStripedStar, kSquare}}));
  const NounPhrase blue_star = {.shape = Shape::kStar, .colour = Colour::kBlue};
  const NounPhrase red_square = {.shape = Shape::kSquare, .colour = Colour::kRed};
  EXPECT_FALSE(Holds({.phrases = {blue_star, kSquare}}));
  EXPECT_FALSE(Holds({.phrases = {kStar, red_square}}));
}

TEST(CaptionTest, PhrasesSpeakOfDifferentObjects) {
  EXPECT_TRUE(Holds({.phrases = {kStar, kStar}}));
  EXPECT_TRUE(Holds({.phrases = {kStar, kStripedStar}}));
  EXPECT_FALSE(Holds({.phrases = {kStar, kStar, kStar}}));
  EXPECT_FALSE(Holds({.phrases = {kCircle, kCircle}}));
  // The first phrase must not keep the only object that the second can have.
  EXPECT_TRUE(Holds({.phrases = {kRedShape, kRedShape, kCircle}}));
}

TEST(CaptionTest, CountsAreExact) {
  EXPECT_TRUE(Holds({.phrases = {kTwoStars, kSquare}}));
  NounPhrase one_star = kStar;
  one_star.exact_count = 1;
  EXPECT_FALSE(Holds({.phrases = {one_star, kSquare}}));
  NounPhrase three_stars = kStar;
  three_stars.exact_count = 3;
  EXPECT_FALSE(Holds({.phrases = {three_stars, kSquare}}));
  NounPhrase three_red = kRedShape;
  three_red.exact_count = 3;
  EXPECT_TRUE(Holds({.phrases = {three_red, kSquare}}));
  // The circle is one of the three.
  EXPECT_FALSE(Holds({.phrases = {three_red, kCircle}}));
  EXPECT_FALSE(Holds({.phrases = {three_red, kTwoStars}}));
}

TEST(CaptionTest, TotalsAreExact) {
  EXPECT_TRUE(Holds({.phrases = {kTwoStars}, .total = 4}));
  EXPECT_FALSE(Holds({.phrases = {kTwoStars}, .total = 3}));
  EXPECT_FALSE(Holds({.phrases = {kTwoStars}, .total = 5}));
}

TEST(CaptionTest, RelationsHaveADirection) {
  EXPECT_TRUE(Holds({.phrases = {kSquare, kCircle}, .relations = {{0, Relation::kLeftOf, 1}}}));
  EXPECT_FALSE(Holds({.phrases = {kCircle, kSquare}, .relations = {{0, Relation::kLeftOf, 1}}}));
  EXPECT_TRUE(Holds({.phrases = {kCircle, kSquare}, .relations = {{0, Relation::kRightOf, 1}}}));
  // In one row neither is above.
  EXPECT_FALSE(Holds({.phrases = {kCircle, kSquare}, .relations = {{0, Relation::kAbove, 1}}}));
  EXPECT_FALSE(Holds({.phrases = {kCircle, kSquare}, .relations = {{0, Relation::kBelow, 1}}}));
}

TEST(CaptionTest, ARelationFindsTheObjectThatStandsInIt) {
  // Only the upper star is above the striped one.
  EXPECT_TRUE(Holds({.phrases = {kStar, kStripedStar}, .relations = {{0, Relation::kAbove, 1}}}));
  EXPECT_FALSE(Holds({.phrases = {kStripedStar, kStar}, .relations = {{0, Relation::kAbove, 1}}}));
}

TEST(CaptionTest, RelationsOfAGroupHoldForAllOfIt) {
  EXPECT_TRUE(Holds({.phrases = {kTwoStars, kSquare}, .relations = {{0, Relation::kLeftOf, 1}}}));
  EXPECT_TRUE(Holds({.phrases = {kSquare, kTwoStars}, .relations = {{0, Relation::kBelow, 1}}}));
  NounPhrase three_red = kRedShape;
  three_red.exact_count = 3;
  // Two of the three red shapes are left of the square, the circle is not.
  EXPECT_FALSE(Holds({.phrases = {three_red, kSquare}, .relations = {{0, Relation::kLeftOf, 1}}}));
}

TEST(CaptionTest, SeveralRelationsMustHoldAtOnce) {
  EXPECT_TRUE(Holds({.phrases = {kStar, kSquare},
                     .relations = {{0, Relation::kAbove, 1}, {0, Relation::kLeftOf, 1}}}));
  EXPECT_FALSE(Holds({.phrases = {kStar, kSquare},
                      .relations = {{0, Relation::kAbove, 1}, {0, Relation::kRightOf, 1}}}));
  // One star cannot be above the striped one and below the other; no third star is there.
  EXPECT_FALSE(Holds({.phrases = {kStar, kStripedStar, kSquare},
                      .relations = {{0, Relation::kAbove, 1}, {0, Relation::kBelow, 2}}}));
}

TEST(CaptionTest, MoreThingsThanASceneCanHoldAreNeverThere) {
  EXPECT_FALSE(Holds({.phrases = std::vector<NounPhrase>(6)}));
}

}  // namespace
}  // namespace dime::scenes
