#include "examples/scenes/world_writer.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "examples/scenes/featuriser.h"
#include "examples/scenes/featuriser_constants.h"
#include "examples/scenes/scene_json.h"
#include "examples/scenes/scene_painter.h"
#include "index/npy_file.h"
#include "index/status_macros.h"

namespace dime::scenes {
namespace {

using nlohmann::ordered_json;

// std::string_view and absl::string_view are two types where Abseil was built for C++14.
std::string Name(std::string_view name) { return std::string(name); }

absl::Status MakeDirectory(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot make the directory ", path, ": ", error.message()));
  }
  return absl::OkStatus();
}

absl::Status WriteText(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) return absl::UnavailableError(absl::StrCat("cannot write ", path));
  return absl::OkStatus();
}

// A JSON array with one entry a line.
std::string LinesOfArray(const std::vector<std::string>& lines) {
  return absl::StrCat("[\n", absl::StrJoin(lines, ",\n"), "\n]\n");
}

std::string MetaLine(const WorldEntry& entry, const std::string& file) {
  ordered_json json;
  json["id"] = entry.id;
  json["width"] = kScenePixels;
  json["height"] = kScenePixels;
  if (!file.empty()) json["file"] = file;
  json["twin"] = entry.twin_id;
  json["twin_kind"] = Name(NameOf(entry.twin_kind));
  ordered_json captions = ordered_json::array();
  for (size_t k = 0; k < entry.captions.size(); ++k) {
    captions.push_back({{"kind", Name(NameOf(entry.captions[k].kind))},
                        {"true_of_twin", static_cast<bool>(entry.true_of_twin[k])}});
  }
  json["captions"] = std::move(captions);
  json["scene"] = SceneToJson(entry.scene);
  return json.dump();
}

SplitSummary Summarise(Split split, absl::Span<const WorldEntry> entries,
                       const std::vector<std::vector<int>>& rows_where_true) {
  SplitSummary summary;
  summary.name = std::string(NameOf(split));
  summary.scenes = static_cast<int>(entries.size());
  summary.captions = static_cast<int>(rows_where_true.size());
  double words = 0;
  for (const WorldEntry& entry : entries) {
    ++summary.scenes_of_twin_kind[static_cast<size_t>(entry.twin_kind)];
    for (size_t k = 0; k < entry.captions.size(); ++k) {
      const std::string& text = entry.captions[k].text;
      words += 1 + static_cast<double>(std::count(text.begin(), text.end(), ' '));
      if (!entry.true_of_twin[k]) {
        ++summary.captions_false_of_twin[static_cast<size_t>(entry.captions[k].kind)];
      }
    }
  }
  double true_scenes = 0;
  for (const std::vector<int>& rows : rows_where_true) {
    true_scenes += static_cast<double>(rows.size());
  }
  if (summary.captions > 0) {
    summary.mean_words = words / summary.captions;
    summary.mean_true_scenes = true_scenes / summary.captions;
  }
  const int captions_per_scene = entries.empty() ? 1 : static_cast<int>(entries[0].captions.size());
  summary.ceiling = ComputeCeiling(rows_where_true, summary.scenes, captions_per_scene);
  return summary;
}

ordered_json RecallJson(const std::array<double, kRecallDepths.size()>& recall) {
  ordered_json json;
  for (size_t d = 0; d < kRecallDepths.size(); ++d) {
    json[absl::StrCat("r", kRecallDepths[d])] = recall[d];
  }
  return json;
}

}  // namespace

absl::StatusOr<WorldWriter> WorldWriter::Create(std::string directory) {
  RETURN_IF_ERROR(MakeDirectory(directory));
  return WorldWriter(std::move(directory));
}

std::string WorldWriter::PathOf(Split split, absl::string_view suffix) const {
  return absl::StrCat(directory_, "/", NameOf(split), suffix);
}

absl::StatusOr<SplitSummary> WorldWriter::WriteSplit(Split split,
                                                     absl::Span<const WorldEntry> entries,
                                                     bool with_png,
                                                     const std::function<void(int)>& progress) {
  const std::string images = absl::StrCat(NameOf(split), "_images");
  if (with_png) RETURN_IF_ERROR(MakeDirectory(absl::StrCat(directory_, "/", images)));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<NpyWriter> features,
      NpyWriter::Create(PathOf(split, "_ims.npy"), {Featuriser::kRegions, Featuriser::kDimension}));
  ASSIGN_OR_RETURN(const std::unique_ptr<NpyWriter> boxes,
                   NpyWriter::Create(PathOf(split, "_boxes.npy"), {Featuriser::kRegions, 4}));
  const ScenePainter painter;
  const Featuriser featuriser;
  const std::vector<float> window_boxes = Featuriser::Boxes();
  std::string caption_lines;
  std::vector<std::string> meta;
  std::vector<Scene> scenes;
  for (const WorldEntry& entry : entries) {
    const Picture picture = painter.Paint(entry.scene);
    ASSIGN_OR_RETURN(const std::vector<float> described, featuriser.Featurise(picture));
    RETURN_IF_ERROR(features->Append(described));
    RETURN_IF_ERROR(boxes->Append(window_boxes));
    std::string file;
    if (with_png) {
      file = absl::StrCat(images, "/", entry.id, ".png");
      RETURN_IF_ERROR(WritePng(picture, absl::StrCat(directory_, "/", file)));
    }
    for (const Caption& caption : entry.captions)
      absl::StrAppend(&caption_lines, caption.text, "\n");
    meta.push_back(MetaLine(entry, file));
    scenes.push_back(entry.scene);
    if (progress) progress(static_cast<int>(scenes.size()));
  }
  RETURN_IF_ERROR(features->Finish());
  RETURN_IF_ERROR(boxes->Finish());
  RETURN_IF_ERROR(WriteText(PathOf(split, "_caps.txt"), caption_lines));
  RETURN_IF_ERROR(WriteText(PathOf(split, "_meta.json"), LinesOfArray(meta)));

  TruthIndex truth(scenes);
  std::vector<std::vector<int>> rows_where_true;
  std::vector<std::string> truth_lines;
  for (const WorldEntry& entry : entries) {
    for (const Caption& caption : entry.captions) {
      rows_where_true.push_back(truth.RowsWhereTrue(caption));
      truth_lines.push_back(absl::StrCat("[", absl::StrJoin(rows_where_true.back(), ","), "]"));
    }
  }
  RETURN_IF_ERROR(WriteText(PathOf(split, "_truth.json"), LinesOfArray(truth_lines)));
  return Summarise(split, entries, rows_where_true);
}

absl::Status WorldWriter::WriteSummary(uint64_t seed, absl::Span<const SplitSummary> splits) {
  ordered_json json;
  json["format"] = "dime-scenes";
  json["version"] = 1;
  json["seed"] = seed;
  for (const SplitSummary& split : splits) {
    ordered_json entry;
    entry["scenes"] = split.scenes;
    entry["captions"] = split.captions;
    entry["mean_words_per_caption"] = split.mean_words;
    entry["mean_true_scenes_per_caption"] = split.mean_true_scenes;
    for (int k = 0; k < kTwinKinds; ++k) {
      entry["scenes_by_twin_kind"][Name(NameOf(static_cast<TwinKind>(k)))] =
          split.scenes_of_twin_kind[k];
    }
    for (int k = 0; k < kCaptionKinds; ++k) {
      entry["captions_false_of_twin"][Name(NameOf(static_cast<CaptionKind>(k)))] =
          split.captions_false_of_twin[k];
    }
    entry["ambiguity_ceiling_percent"] = {
        {"text_to_image", RecallJson(split.ceiling.text_to_image)},
        {"image_to_text", RecallJson(split.ceiling.image_to_text)}};
    json["splits"][split.name] = std::move(entry);
  }
  json["featuriser"] = {{"version", Featuriser::kVersion},
                        {"regions", Featuriser::kRegions},
                        {"dimension", Featuriser::kDimension},
                        {"appearance", Featuriser::kAppearance},
                        {"position", Featuriser::kPosition},
                        {"position_gain", Featuriser::kPositionGain},
                        {"window_pixels", Featuriser::kWindowPixels},
                        {"stride_pixels", Featuriser::kStridePixels},
                        {"means", kFeaturiserMeans},
                        {"deviations", kFeaturiserDeviations}};
  return WriteText(absl::StrCat(directory_, "/world.json"), json.dump(2) + "\n");
}

}  // namespace dime::scenes
