#ifndef DIME_EXAMPLES_SCENES_SCENE_JSON_H_
#define DIME_EXAMPLES_SCENES_SCENE_JSON_H_

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "examples/scenes/scene.h"

namespace dime::scenes {

// The "scene" of an entry in SPLIT_meta.json: {"background": seed, "objects": [{"shape", "colour",
// "size", "fill", "column", "row", "x", "y", "radius", "rotation", "rgb"}]}. A scene read back is
// drawn exactly as before.
nlohmann::ordered_json SceneToJson(const Scene& scene);

// INVALID_ARGUMENT naming the field, for anything that SceneToJson would not write.
absl::StatusOr<Scene> SceneFromJson(const nlohmann::json& json);

}  // namespace dime::scenes

#endif  // DIME_EXAMPLES_SCENES_SCENE_JSON_H_
