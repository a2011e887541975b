#ifndef DIME_EXAMPLES_SCENES_SCENE_SAMPLER_H_
#define DIME_EXAMPLES_SCENES_SCENE_SAMPLER_H_

#include <optional>

#include "examples/scenes/random_stream.h"
#include "examples/scenes/scene.h"

namespace dime::scenes {

// Two scenes whose graphs differ in one thing, named by `kind`:
//   kAttributes  one attribute (colour, fill, size or shape) is exchanged between two objects;
//   kCounts      one of the scenes has one object more, which shares a shape or colour with
//   another; kMirrored    the grid cells are mirrored, left-right or top-bottom.
// All that no caption speaks of is drawn afresh for each: the exact place within the cell, radius,
// rotation, tint and background.
struct TwinScenes {
  Scene first;
  Scene second;
  TwinKind kind = TwinKind::kAttributes;
};

// Draws scenes of two to `max_objects` objects. Six in ten scenes of three or more hold a group
// that shares its shape or its colour. Objects never overlap, and no two of a scene look alike.
// Immutable, hence thread-safe.
class SceneSampler {
 public:
  struct Options {
    std::optional<TwinKind> twins;  // one kind only; unset: all, in equal parts
    int max_objects = kMaxObjects;  // at least kMinObjects
  };
  SceneSampler() : SceneSampler(Options{}) {}
  explicit SceneSampler(const Options& options) : options_(options) {}

  // A function of the stream alone.
  TwinScenes SampleTwins(RandomStream& random) const;

 private:
  const Options options_;
};

}  // namespace dime::scenes

#endif  // DIME_EXAMPLES_SCENES_SCENE_SAMPLER_H_
