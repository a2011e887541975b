#include "examples/scenes/scene_painter.h"

#include <cstdlib>

#include "gtest/gtest.h"
#include "tests/examples/scene_fixtures.h"

namespace dime::scenes {
namespace {

// Pixels that are closer to the fixtures' red than to the light background.
int RedPixels(const Picture& picture, int left, int top, int right, int bottom) {
  int count = 0;
  for (int y = top; y < bottom; ++y) {
    for (int x = left; x < right; ++x) {
      const uint8_t* rgb = picture.At(x, y);
      if (rgb[0] > 150 && rgb[1] < 110 && rgb[2] < 110) ++count;
    }
  }
  return count;
}

Scene OneOf(Fill fill, Size size) {
  Scene scene;
  scene.background_seed = 5;
  scene.objects = {ObjectAt(1, 1, Shape::kSquare, Colour::kRed, size, fill)};
  return scene;
}

TEST(ScenePainterTest, PaintsTheObjectInItsPlaceOnALightGround) {
  const Picture picture = ScenePainter().Paint(OneOf(Fill::kSolid, Size::kLarge));
  ASSERT_EQ(picture.width, kScenePixels);
  ASSERT_EQ(picture.height, kScenePixels);
  // The square's sides are 2 * 0.84 * 15 = 25.2 pixels long: 24 whole ones and two in part.
  EXPECT_GE(RedPixels(picture, 40, 40, 80, 80), 24 * 24);
  EXPECT_LE(RedPixels(picture, 40, 40, 80, 80), 26 * 26);
  EXPECT_EQ(RedPixels(picture, 0, 0, kScenePixels, kScenePixels),
            RedPixels(picture, 40, 40, 80, 80));
  for (int c = 0; c < 3; ++c) EXPECT_GT(picture.At(5, 5)[c], 200);
}

TEST(ScenePainterTest, FillsAndSizesAreToBeSeen) {
  const ScenePainter painter;
  for (Size size : {Size::kLarge, Size::kSmall}) {
    const int solid = RedPixels(painter.Paint(OneOf(Fill::kSolid, size)), 40, 40, 80, 80);
    const int striped = RedPixels(painter.Paint(OneOf(Fill::kStriped, size)), 40, 40, 80, 80);
    const int outlined = RedPixels(painter.Paint(OneOf(Fill::kOutlined, size)), 40, 40, 80, 80);
    EXPECT_LT(striped, solid * 3 / 4);
    EXPECT_GT(striped, solid / 4);
    EXPECT_NE(striped, outlined);
    EXPECT_LT(outlined, solid * 3 / 4);
  }
  EXPECT_GT(RedPixels(painter.Paint(OneOf(Fill::kSolid, Size::kLarge)), 0, 0, 120, 120),
            2 * RedPixels(painter.Paint(OneOf(Fill::kSolid, Size::kSmall)), 0, 0, 120, 120));
}

TEST(ScenePainterTest, ASceneIsAlwaysDrawnAlikeAndBackgroundsDiffer) {
  Scene scene = OneOf(Fill::kStriped, Size::kLarge);
  const ScenePainter painter;
  const Picture picture = painter.Paint(scene);
  EXPECT_EQ(picture.pixels, painter.Paint(scene).pixels);
  scene.background_seed = 6;
  EXPECT_NE(picture.pixels, painter.Paint(scene).pixels);
}

}  // namespace
}  // namespace dime::scenes
