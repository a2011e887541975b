#include "examples/scenes/scene.h"

#include "gtest/gtest.h"
#include "tests/examples/scene_fixtures.h"

namespace dime::scenes {
namespace {

TEST(SceneTest, SignatureHeedsLooksAndCellsButNotOrderOrJitter) {
  Scene scene;
  scene.objects = {ObjectAt(0, 0, Shape::kStar, Colour::kRed),
                   ObjectAt(2, 1, Shape::kHeart, Colour::kBlue)};
  Scene same = scene;
  std::swap(same.objects[0], same.objects[1]);
  same.objects[0].x += 2;
  same.background_seed = 9;
  EXPECT_EQ(scene.Signature(), same.Signature());
  Scene moved = scene;
  moved.objects[1].row = 2;
  EXPECT_NE(scene.Signature(), moved.Signature());
  Scene striped = scene;
  striped.objects[0].fill = Fill::kStriped;
  EXPECT_NE(scene.Signature(), striped.Signature());
}

TEST(SceneTest, RelationsHoldFromTheMarginOn) {
  Scene scene;
  scene.objects = {ObjectAt(0, 0, Shape::kStar, Colour::kRed),
                   ObjectAt(0, 1, Shape::kHeart, Colour::kBlue)};
  scene.objects[1].x = scene.objects[0].x + kRelationMargin - 0.5;
  const SceneFacts close(scene);
  const auto left_of = static_cast<size_t>(Relation::kLeftOf);
  const auto above = static_cast<size_t>(Relation::kAbove);
  EXPECT_EQ(close.related[left_of][0], 0);
  EXPECT_EQ(close.related[above][0], 0b10);
  EXPECT_EQ(close.related[above][1], 0);
  scene.objects[1].x = scene.objects[0].x + kRelationMargin;
  const SceneFacts apart(scene);
  EXPECT_EQ(apart.related[left_of][0], 0b10);
  EXPECT_EQ(apart.related[static_cast<size_t>(Relation::kRightOf)][1], 0b01);
}

TEST(SceneTest, NamesAreReadBack) {
  EXPECT_EQ(FromName<Shape>("cross"), Shape::kCross);
  EXPECT_EQ(FromName<Fill>(NameOf(Fill::kOutlined)), Fill::kOutlined);
  EXPECT_EQ(FromName<TwinKind>("mirrored"), TwinKind::kMirrored);
  EXPECT_EQ(FromName<Colour>("mauve"), std::nullopt);
}

}  // namespace
}  // namespace dime::scenes
