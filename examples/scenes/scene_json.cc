#include "examples/scenes/scene_json.h"

#include <cmath>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "index/status_macros.h"

namespace dime::scenes {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr double kLargestRadius = kScenePixels;

absl::Status BadField(absl::string_view field) {
  return absl::InvalidArgumentError(
      absl::StrCat("\"", field, "\" of a scene's object is missing or no value that it can have"));
}

template <typename T>
absl::StatusOr<T> NamedField(const json& object, const char* field) {
  const auto found = object.find(field);
  if (found == object.end() || !found->is_string()) return BadField(field);
  const std::optional<T> value = FromName<T>(found->get_ref<const std::string&>());
  if (!value.has_value()) return BadField(field);
  return *value;
}

absl::StatusOr<double> NumberField(const json& object, const char* field, double low, double high) {
  const auto found = object.find(field);
  if (found == object.end() || !found->is_number()) return BadField(field);
  const double value = found->get<double>();
  if (!(value >= low && value <= high)) return BadField(field);
  return value;
}

absl::StatusOr<int> CellField(const json& object, const char* field) {
  const auto found = object.find(field);
  if (found == object.end() || !found->is_number_integer()) return BadField(field);
  ASSIGN_OR_RETURN(const double value, NumberField(object, field, 0, kGridCells - 1));
  return static_cast<int>(value);
}

absl::StatusOr<SceneObject> ObjectFromJson(const json& json) {
  if (!json.is_object()) return absl::InvalidArgumentError("a scene's object is no JSON object");
  SceneObject object;
  ASSIGN_OR_RETURN(object.shape, NamedField<Shape>(json, "shape"));
  ASSIGN_OR_RETURN(object.colour, NamedField<Colour>(json, "colour"));
  ASSIGN_OR_RETURN(object.size, NamedField<Size>(json, "size"));
  ASSIGN_OR_RETURN(object.fill, NamedField<Fill>(json, "fill"));
  ASSIGN_OR_RETURN(object.column, CellField(json, "column"));
  ASSIGN_OR_RETURN(object.row, CellField(json, "row"));
  ASSIGN_OR_RETURN(object.x, NumberField(json, "x", 0, kScenePixels));
  ASSIGN_OR_RETURN(object.y, NumberField(json, "y", 0, kScenePixels));
  ASSIGN_OR_RETURN(object.radius, NumberField(json, "radius", 1, kLargestRadius));
  ASSIGN_OR_RETURN(object.rotation, NumberField(json, "rotation", -4, 4));
  const auto rgb = json.find("rgb");
  if (rgb == json.end() || !rgb->is_array() || rgb->size() != 3) return BadField("rgb");
  for (int c = 0; c < 3; ++c) {
    const auto& channel = (*rgb)[c];
    if (!channel.is_number_unsigned() || channel.get<uint64_t>() > 255) return BadField("rgb");
    object.rgb[c] = channel.get<uint8_t>();
  }
  return object;
}

}  // namespace

ordered_json SceneToJson(const Scene& scene) {
  ordered_json objects = ordered_json::array();
  for (const SceneObject& object : scene.objects) {
    objects.push_back({{"shape", NameOf(object.shape)},
                       {"colour", NameOf(object.colour)},
                       {"size", NameOf(object.size)},
                       {"fill", NameOf(object.fill)},
                       {"column", object.column},
                       {"row", object.row},
                       {"x", object.x},
                       {"y", object.y},
                       {"radius", object.radius},
                       {"rotation", object.rotation},
                       {"rgb", object.rgb}});
  }
  ordered_json json;
  json["background"] = scene.background_seed;
  json["objects"] = std::move(objects);
  return json;
}

absl::StatusOr<Scene> SceneFromJson(const json& json) {
  if (!json.is_object()) return absl::InvalidArgumentError("\"scene\" is no JSON object");
  const auto background = json.find("background");
  if (background == json.end() || !background->is_number_unsigned()) {
    return absl::InvalidArgumentError("\"background\" of a scene is no whole number");
  }
  const auto objects = json.find("objects");
  if (objects == json.end() || !objects->is_array() || objects->size() < kMinObjects ||
      objects->size() > kMaxObjects) {
    return absl::InvalidArgumentError(absl::StrCat("\"objects\" of a scene is no array of ",
                                                   kMinObjects, " to ", kMaxObjects, " objects"));
  }
  Scene scene;
  scene.background_seed = background->get<uint64_t>();
  for (const auto& entry : *objects) {
    ASSIGN_OR_RETURN(SceneObject object, ObjectFromJson(entry));
    scene.objects.push_back(std::move(object));
  }
  return scene;
}

}  // namespace dime::scenes
