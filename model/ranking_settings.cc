#include "model/ranking_settings.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "index/durable_file.h"
#include "index/status_macros.h"
#include "nlohmann/json.hpp"

namespace dime {
namespace {

using nlohmann::ordered_json;

constexpr int kFormat = 1;

absl::string_view TargetName(Modality target) {
  return target == Modality::kImage ? "images" : "captions";
}

// Reads the number `name` of `json` into `value`, checked to lie in [low, high].
template <typename T>
absl::Status ReadNumber(const ordered_json& json, const char* name, double low, double high,
                        T& value) {
  const auto found = json.find(name);
  if (found == json.end() || !found->is_number()) {
    return absl::InvalidArgumentError(absl::StrCat(name, " is missing or no number"));
  }
  const double number = found->get<double>();
  if (!(number >= low && number <= high)) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " must be ", low, " to ", high, ", is ", number));
  }
  value = static_cast<T>(number);
  return absl::OkStatus();
}

absl::StatusOr<RankingSettings::Entry> ReadEntry(const ordered_json& json) {
  RankingSettings::Entry entry;
  RETURN_IF_ERROR(ReadNumber(json, "fusion_weight", 0, 1, entry.fusion_weight));
  RETURN_IF_ERROR(ReadNumber(json, "coarse_recall", 0, 300, entry.coarse_recall));
  RETURN_IF_ERROR(ReadNumber(json, "rerank_recall", 0, 300, entry.rerank_recall));
  RETURN_IF_ERROR(ReadNumber(json, "fused_recall", 0, 300, entry.fused_recall));
  if (json.contains("bound_slope")) {
    RankingSettings::Entry::Bound bound;
    RETURN_IF_ERROR(ReadNumber(json, "bound_slope", 0, 1000, bound.slope));
    RETURN_IF_ERROR(ReadNumber(json, "bound_intercept", -1000, 1000, bound.intercept));
    entry.bound = bound;
  }
  return entry;
}

}  // namespace

float RankingSettings::FusionWeight(Modality target, ScoreMode mode) const {
  return of(target, mode).has_value() ? of(target, mode)->fusion_weight : 0;
}

bool RankingSettings::RerankLoses(ScoreMode mode) const {
  double coarse = 0, rerank = 0;
  for (Modality target : {Modality::kImage, Modality::kCaption}) {
    if (!of(target, mode).has_value()) return false;
    coarse += of(target, mode)->coarse_recall;
    rerank += of(target, mode)->rerank_recall;
  }
  return rerank < coarse;
}

absl::StatusOr<RankingSettings> RankingSettings::Load(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/", kRankingSettingsName);
  RankingSettings settings;
  if (!std::filesystem::exists(path)) return settings;
  const auto broken = [&path](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": ", what, "; make it again with dime_evaluate --tune-fusion, or remove it"));
  };
  std::ifstream stream(path);
  const ordered_json json = ordered_json::parse(stream, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("format")) return broken("is no ranking settings");
  if (json["format"] != kFormat) return broken("is of a format that this version does not know");
  if (json.contains("tuned_on") && json["tuned_on"].is_string()) {
    settings.tuned_on = json["tuned_on"].get<std::string>();
  }
  for (Modality target : {Modality::kImage, Modality::kCaption}) {
    const std::string target_name(TargetName(target));
    if (!json.contains(target_name)) continue;
    if (!json[target_name].is_object()) return broken(target_name + " is no object");
    for (ScoreMode mode : kScoreModes) {
      const std::string mode_name(ScoreModeName(mode));
      const auto found = json[target_name].find(mode_name);
      if (found == json[target_name].end()) continue;
      if (!found->is_object()) {
        return broken(absl::StrCat(target_name, ".", mode_name, " is no object"));
      }
      absl::StatusOr<Entry> entry = ReadEntry(*found);
      if (!entry.ok()) {
        return broken(absl::StrCat(target_name, ".", mode_name, ".", entry.status().message()));
      }
      settings.of(target, mode) = *entry;
    }
  }
  return settings;
}

absl::Status RankingSettings::Save(const std::string& directory) const {
  ordered_json json = {{"format", kFormat}, {"tuned_on", tuned_on}};
  for (Modality target : {Modality::kImage, Modality::kCaption}) {
    ordered_json& modes = json[std::string(TargetName(target))] = ordered_json::object();
    for (ScoreMode mode : kScoreModes) {
      const std::optional<Entry>& entry = of(target, mode);
      if (!entry.has_value()) continue;
      ordered_json& out = modes[std::string(ScoreModeName(mode))];
      out = {{"fusion_weight", entry->fusion_weight},
             {"coarse_recall", entry->coarse_recall},
             {"rerank_recall", entry->rerank_recall},
             {"fused_recall", entry->fused_recall}};
      if (entry->bound.has_value()) {
        out["bound_slope"] = entry->bound->slope;
        out["bound_intercept"] = entry->bound->intercept;
      }
    }
  }
  return WriteFileDurably(absl::StrCat(directory, "/", kRankingSettingsName), json.dump(2) + "\n");
}

}  // namespace dime
