#include "examples/scenes/scene_sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <vector>

namespace dime::scenes {
namespace {

constexpr double kFirstCentre = 22;    // pixels: centre of the first grid column and row
constexpr double kPitch = 38;          // pixels between columns, and between rows
constexpr double kJitter = 3;          // pixels off the centre of a cell, at most
constexpr double kTouching = 1.12;     // in sums of two radii: the least distance of two centres
constexpr double kMaxRotation = 0.14;  // radians
constexpr int kTintJitter = 10;        // of 255, per channel

constexpr std::array<std::array<int, 3>, kColours> kPalette = {{{222, 28, 36},
                                                                {246, 128, 14},
                                                                {236, 204, 10},
                                                                {28, 150, 62},
                                                                {32, 92, 214},
                                                                {126, 44, 168},
                                                                {246, 112, 178},
                                                                {34, 34, 38}}};

Shape RandomShape(RandomStream& random) { return static_cast<Shape>(random.Below(kShapes)); }
Colour RandomColour(RandomStream& random) { return static_cast<Colour>(random.Below(kColours)); }
Size RandomSize(RandomStream& random) { return static_cast<Size>(random.Below(kSizes)); }
Fill RandomFill(RandomStream& random) {
  return static_cast<Fill>(random.Weighted({0.4, 0.3, 0.3}));
}

SceneObject RandomObject(RandomStream& random) {
  SceneObject object;
  object.shape = RandomShape(random);
  object.colour = RandomColour(random);
  object.size = RandomSize(random);
  object.fill = RandomFill(random);
  return object;
}

void PutIntoCell(int cell, SceneObject& object) {
  object.column = cell % kGridCells;
  object.row = cell / kGridCells;
}

// A scene graph: attributes and cells, nothing of how it is drawn.
Scene RandomGraph(int max_objects, RandomStream& random) {
  int count = 0;
  do {
    count = kMinObjects + random.Weighted({0.15, 0.30, 0.30, 0.25});
  } while (count > max_objects);
  Scene scene;
  for (int i = 0; i < count; ++i) scene.objects.push_back(RandomObject(random));
  if (count >= 3 && random.Chance(0.6)) {
    const int group = 2 + random.Below(std::min(count - 1, 3));
    const bool by_shape = random.Chance(0.5);
    for (int i = 1; i < group; ++i) {
      if (by_shape) {
        scene.objects[i].shape = scene.objects[0].shape;
      } else {
        scene.objects[i].colour = scene.objects[0].colour;
      }
    }
  }
  std::vector<int> cells(kGridCells * kGridCells);
  std::iota(cells.begin(), cells.end(), 0);
  random.Shuffle(cells);
  for (int i = 0; i < count; ++i) PutIntoCell(cells[i], scene.objects[i]);
  return scene;
}

// Whether no two objects look alike, so that every object can be named.
bool AllDistinct(const Scene& scene) {
  for (size_t i = 0; i < scene.objects.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (scene.objects[i].LooksLike(scene.objects[j])) return false;
    }
  }
  return true;
}

// Without place: the sorted looks of all objects.
std::string LooksOf(Scene scene) {
  for (SceneObject& object : scene.objects) object.row = object.column = 0;
  return scene.Signature();
}

std::optional<Scene> WithAttributesSwapped(const Scene& scene, RandomStream& random) {
  Scene twin = scene;
  const int count = static_cast<int>(scene.objects.size());
  const int i = random.Below(count);
  const int j = (i + 1 + random.Below(count - 1)) % count;
  SceneObject& a = twin.objects[i];
  SceneObject& b = twin.objects[j];
  switch (random.Weighted({0.45, 0.25, 0.15, 0.15})) {
    case 0:
      std::swap(a.colour, b.colour);
      break;
    case 1:
      std::swap(a.fill, b.fill);
      break;
    case 2:
      std::swap(a.size, b.size);
      break;
    default:
      std::swap(a.shape, b.shape);
      break;
  }
  // Objects that differ in the exchanged attribute only would merely change places.
  if (LooksOf(twin) == LooksOf(scene)) return std::nullopt;
  return twin;
}

std::optional<Scene> WithOneMore(const Scene& scene, RandomStream& random) {
  if (scene.objects.size() >= kMaxObjects) return std::nullopt;
  std::vector<int> free_cells;
  for (int cell = 0; cell < kGridCells * kGridCells; ++cell) {
    const bool taken = std::any_of(scene.objects.begin(), scene.objects.end(), [&](const auto& o) {
      return o.row * kGridCells + o.column == cell;
    });
    if (!taken) free_cells.push_back(cell);
  }
  SceneObject object = RandomObject(random);
  const SceneObject& like = random.Pick(scene.objects);
  const int shared = random.Weighted({0.5, 0.3, 0.2});
  if (shared != 1) object.shape = like.shape;
  if (shared != 0) object.colour = like.colour;
  PutIntoCell(random.Pick(free_cells), object);
  Scene twin = scene;
  twin.objects.push_back(object);
  return twin;
}

std::optional<Scene> Mirrored(const Scene& scene, RandomStream& random) {
  const bool left_right = random.Chance(0.5);
  Scene twin = scene;
  for (SceneObject& object : twin.objects) {
    int& place = left_right ? object.column : object.row;
    place = kGridCells - 1 - place;
  }
  // Some relation between two objects that can be told apart must have turned round.
  for (const SceneObject& a : scene.objects) {
    for (const SceneObject& b : scene.objects) {
      const bool apart = left_right ? a.column != b.column : a.row != b.row;
      if (apart && (a.shape != b.shape || a.colour != b.colour)) return twin;
    }
  }
  return std::nullopt;
}

// Chooses all that is seen but not spoken of. Returns false if the objects came to overlap.
bool TryDraw(RandomStream& random, Scene& scene) {
  for (SceneObject& object : scene.objects) {
    object.x = kFirstCentre + kPitch * object.column + random.Between(-kJitter, kJitter);
    object.y = kFirstCentre + kPitch * object.row + random.Between(-kJitter, kJitter);
    object.radius =
        object.size == Size::kLarge ? random.Between(14.0, 15.2) : random.Between(9.2, 10.2);
    object.rotation = random.Between(-kMaxRotation, kMaxRotation);
    for (int c = 0; c < 3; ++c) {
      const int tint = kPalette[static_cast<size_t>(object.colour)][c] - kTintJitter +
                       random.Below(2 * kTintJitter + 1);
      object.rgb[c] = static_cast<uint8_t>(std::clamp(tint, 0, 255));
    }
  }
  for (size_t i = 0; i < scene.objects.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const SceneObject& a = scene.objects[i];
      const SceneObject& b = scene.objects[j];
      if (std::hypot(a.x - b.x, a.y - b.y) < kTouching * (a.radius + b.radius)) return false;
    }
  }
  return true;
}

void Draw(RandomStream& random, Scene& scene) {
  scene.background_seed = random.Next();
  // At the cells' very centres the largest objects stand clear of each other, so this ends.
  while (!TryDraw(random, scene)) {
  }
}

}  // namespace

TwinScenes SceneSampler::SampleTwins(RandomStream& random) const {
  const TwinKind kind = options_.twins.has_value()
                            ? *options_.twins
                            : static_cast<TwinKind>(random.Below(kTwinKinds));
  while (true) {
    TwinScenes twins;
    twins.kind = kind;
    twins.first = RandomGraph(options_.max_objects, random);
    std::optional<Scene> other;
    switch (kind) {
      case TwinKind::kAttributes:
        other = WithAttributesSwapped(twins.first, random);
        break;
      case TwinKind::kCounts:
        other = WithOneMore(twins.first, random);
        break;
      case TwinKind::kMirrored:
        other = Mirrored(twins.first, random);
        break;
    }
    if (!other.has_value() || other->Signature() == twins.first.Signature()) continue;
    if (!AllDistinct(twins.first) || !AllDistinct(*other)) continue;
    twins.second = *std::move(other);
    if (random.Chance(0.5)) std::swap(twins.first, twins.second);
    Draw(random, twins.first);
    Draw(random, twins.second);
    return twins;
  }
}

}  // namespace dime::scenes
