#include "examples/scenes/scene.h"

#include <algorithm>

namespace dime::scenes {
namespace {

constexpr std::array<std::string_view, kShapes> kShapeNames = {"circle", "square", "triangle",
                                                               "star",   "cross",  "heart"};
constexpr std::array<std::string_view, kColours> kColourNames = {
    "red", "orange", "yellow", "green", "blue", "purple", "pink", "black"};
constexpr std::array<std::string_view, kSizes> kSizeNames = {"small", "large"};
constexpr std::array<std::string_view, kFills> kFillNames = {"solid", "outlined", "striped"};
constexpr std::array<std::string_view, kTwinKinds> kTwinKindNames = {"attributes", "counts",
                                                                     "mirrored"};

template <typename T, size_t N>
std::optional<T> Find(const std::array<std::string_view, N>& names, std::string_view name) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return std::nullopt;
  return static_cast<T>(found - names.begin());
}

template <typename T>
size_t Index(T value) {
  return static_cast<size_t>(value);
}

}  // namespace

std::string_view NameOf(Shape shape) { return kShapeNames[Index(shape)]; }
std::string_view NameOf(Colour colour) { return kColourNames[Index(colour)]; }
std::string_view NameOf(Size size) { return kSizeNames[Index(size)]; }
std::string_view NameOf(Fill fill) { return kFillNames[Index(fill)]; }
std::string_view NameOf(TwinKind kind) { return kTwinKindNames[Index(kind)]; }

template <>
std::optional<Shape> FromName(std::string_view name) {
  return Find<Shape>(kShapeNames, name);
}
template <>
std::optional<Colour> FromName(std::string_view name) {
  return Find<Colour>(kColourNames, name);
}
template <>
std::optional<Size> FromName(std::string_view name) {
  return Find<Size>(kSizeNames, name);
}
template <>
std::optional<Fill> FromName(std::string_view name) {
  return Find<Fill>(kFillNames, name);
}
template <>
std::optional<TwinKind> FromName(std::string_view name) {
  return Find<TwinKind>(kTwinKindNames, name);
}

std::string Scene::Signature() const {
  std::vector<std::string> parts;
  for (const SceneObject& object : objects) {
    const size_t values[] = {Index(object.shape), Index(object.colour), Index(object.size),
                             Index(object.fill),  size_t(object.row),   size_t(object.column)};
    std::string part;
    for (size_t value : values) part.push_back(static_cast<char>('0' + value));
    parts.push_back(part);
  }
  std::sort(parts.begin(), parts.end());
  std::string signature;
  for (const std::string& part : parts) signature += part + ".";
  return signature;
}

SceneFacts::SceneFacts(const Scene& scene)
    : object_count(static_cast<int>(std::min<size_t>(scene.objects.size(), kMaxObjects))) {
  for (int i = 0; i < object_count; ++i) {
    const SceneObject& object = scene.objects[i];
    const uint8_t bit = static_cast<uint8_t>(1u << i);
    of_shape[Index(object.shape)] |= bit;
    of_colour[Index(object.colour)] |= bit;
    of_size[Index(object.size)] |= bit;
    of_fill[Index(object.fill)] |= bit;
    for (int j = 0; j < object_count; ++j) {
      const uint8_t other_bit = static_cast<uint8_t>(1u << j);
      const double right = scene.objects[j].x - object.x;
      const double down = scene.objects[j].y - object.y;
      if (right >= kRelationMargin) related[Index(Relation::kLeftOf)][i] |= other_bit;
      if (-right >= kRelationMargin) related[Index(Relation::kRightOf)][i] |= other_bit;
      if (down >= kRelationMargin) related[Index(Relation::kAbove)][i] |= other_bit;
      if (-down >= kRelationMargin) related[Index(Relation::kBelow)][i] |= other_bit;
    }
  }
}

}  // namespace dime::scenes
