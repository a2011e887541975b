#include "examples/scenes/split_reader.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "examples/scenes/scene_json.h"
#include "index/mapped_file.h"
#include "index/status_macros.h"

namespace dime::scenes {
namespace {

using nlohmann::json;

absl::StatusOr<json> ReadArray(const std::string& path) {
  ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  const char* begin = reinterpret_cast<const char*>(file->bytes().data());
  json parsed = json::parse(begin, begin + file->bytes().size(), nullptr,
                            /*allow_exceptions=*/false);
  if (!parsed.is_array()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is no JSON array; it is written by scenes_generate"));
  }
  return parsed;
}

const std::string* TextField(const json& object, const char* field) {
  const auto found = object.find(field);
  return found != object.end() && found->is_string() ? &found->get_ref<const std::string&>()
                                                     : nullptr;
}

absl::StatusOr<SplitEntry> EntryFromJson(const json& json) {
  SplitEntry entry;
  const std::string* id = json.is_object() ? TextField(json, "id") : nullptr;
  if (id == nullptr) return absl::InvalidArgumentError("has no \"id\"");
  entry.id = *id;
  const std::string* kind = TextField(json, "twin_kind");
  const std::optional<TwinKind> twin_kind =
      kind != nullptr ? FromName<TwinKind>(*kind) : std::nullopt;
  if (!twin_kind.has_value()) {
    return absl::InvalidArgumentError("has no \"twin_kind\" of attributes, counts or mirrored");
  }
  entry.twin_kind = *twin_kind;
  const auto captions = json.find("captions");
  if (captions == json.end() || !captions->is_array() || captions->size() != kCaptionKinds) {
    return absl::InvalidArgumentError(
        absl::StrCat("has no \"captions\" with ", kCaptionKinds, " entries"));
  }
  for (int k = 0; k < kCaptionKinds; ++k) {
    const auto& caption = (*captions)[k];
    const std::string* name = caption.is_object() ? TextField(caption, "kind") : nullptr;
    if (name == nullptr || FromName<CaptionKind>(*name) != static_cast<CaptionKind>(k) ||
        !caption.contains("true_of_twin") || !caption["true_of_twin"].is_boolean()) {
      return absl::InvalidArgumentError(
          absl::StrCat("has a caption ", k, " without its \"kind\" or \"true_of_twin\""));
    }
    entry.true_of_twin[k] = caption["true_of_twin"].get<bool>();
  }
  const auto scene = json.find("scene");
  if (scene == json.end()) return absl::InvalidArgumentError("has no \"scene\"");
  ASSIGN_OR_RETURN(entry.scene, SceneFromJson(*scene));
  return entry;
}

}  // namespace

absl::StatusOr<std::vector<SplitEntry>> ReadSplitEntries(const std::string& directory,
                                                         const std::string& split) {
  const std::string path = absl::StrCat(directory, "/", split, "_meta.json");
  ASSIGN_OR_RETURN(const json array, ReadArray(path));
  if (array.empty() || array.size() % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " has ", array.size(), " entries; scenes come in pairs of twins"));
  }
  std::vector<SplitEntry> entries;
  entries.reserve(array.size());
  for (const json& element : array) {
    absl::StatusOr<SplitEntry> entry = EntryFromJson(element);
    if (!entry.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": entry ", entries.size(), " ", entry.status().message()));
    }
    entries.push_back(*std::move(entry));
  }
  return entries;
}

absl::StatusOr<std::vector<std::vector<int>>> ReadTruth(const std::string& directory,
                                                        const std::string& split, int scenes) {
  const std::string path = absl::StrCat(directory, "/", split, "_truth.json");
  ASSIGN_OR_RETURN(const json array, ReadArray(path));
  if (array.size() != static_cast<size_t>(scenes) * kCaptionKinds) {
    return absl::InvalidArgumentError(absl::StrCat(path, " has ", array.size(), " entries; ",
                                                   scenes, " scenes need ", kCaptionKinds,
                                                   " each"));
  }
  std::vector<std::vector<int>> truth;
  truth.reserve(array.size());
  for (const json& element : array) {
    std::vector<int> rows;
    bool sound = element.is_array() && !element.empty();
    if (sound) {
      for (const json& row : element) {
        sound = sound && row.is_number_unsigned() &&
                row.get<uint64_t>() < static_cast<uint64_t>(scenes);
        if (sound) rows.push_back(row.get<int>());
      }
    }
    if (!sound) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": entry ", truth.size(), " is no array of rows below ", scenes));
    }
    truth.push_back(std::move(rows));
  }
  return truth;
}

}  // namespace dime::scenes
