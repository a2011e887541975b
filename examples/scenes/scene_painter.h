#ifndef DIME_EXAMPLES_SCENES_SCENE_PAINTER_H_
#define DIME_EXAMPLES_SCENES_SCENE_PAINTER_H_

#include "examples/scenes/picture.h"
#include "examples/scenes/scene.h"

namespace dime::scenes {

// Draws a scene as kScenePixels x kScenePixels pixels: a light background (gradient, faint blots
// and a little noise, all from the scene's background seed) and the objects over it, solid,
// outlined, or striped with diagonal stripes. A scene is always drawn alike.
// Stateless, hence thread-safe.
class ScenePainter {
 public:
  Picture Paint(const Scene& scene) const;
};

}  // namespace dime::scenes

#endif  // DIME_EXAMPLES_SCENES_SCENE_PAINTER_H_
