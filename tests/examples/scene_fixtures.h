#ifndef DIME_TESTS_EXAMPLES_SCENE_FIXTURES_H_
#define DIME_TESTS_EXAMPLES_SCENE_FIXTURES_H_

#include "examples/scenes/scene.h"

namespace dime::scenes {

// An object in the middle of its cell, drawn in plain red whatever its colour is called.
inline SceneObject ObjectAt(int column, int row, Shape shape, Colour colour,
                            Size size = Size::kLarge, Fill fill = Fill::kSolid) {
  SceneObject object;
  object.shape = shape;
  object.colour = colour;
  object.size = size;
  object.fill = fill;
  object.column = column;
  object.row = row;
  object.x = 22 + 38 * column;
  object.y = 22 + 38 * row;
  object.radius = size == Size::kLarge ? 15 : 9.5;
  object.rgb = {222, 28, 36};
  return object;
}

}  // namespace dime::scenes

#endif  // DIME_TESTS_EXAMPLES_SCENE_FIXTURES_H_
