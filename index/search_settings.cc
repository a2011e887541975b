#include "index/search_settings.h"

#include <cmath>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "index/durable_file.h"
#include "index/mapped_file.h"
#include "index/status_macros.h"

namespace dime {
namespace {

using nlohmann::ordered_json;

constexpr absl::string_view kFormat = "dime-search-settings";
constexpr int kFormatVersion = 1;
constexpr size_t kMaxFileBytes = 1 << 20;
constexpr size_t kShownFingerprint = 12;  // digits, in messages
constexpr std::array<Modality, 2> kModalities = {Modality::kImage, Modality::kCaption};

std::string SideName(Modality modality) { return absl::StrCat(ModalityName(modality), "s"); }

absl::Status FieldError(absl::string_view name, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("\"", name, "\" ", what));
}

absl::StatusOr<std::string> ReadText(const ordered_json& json, const char* name) {
  const auto found = json.find(name);
  if (found == json.end() || !found->is_string()) return FieldError(name, "is missing or no text");
  return found->get<std::string>();
}

absl::StatusOr<double> ReadNumber(const ordered_json& json, const char* name, double low,
                                  double high) {
  const auto found = json.find(name);
  if (found == json.end() || !found->is_number()) {
    return FieldError(name, "is missing or no number");
  }
  const double number = found->get<double>();
  if (!(number >= low && number <= high)) {
    return FieldError(name, absl::StrCat("must be ", low, " to ", high, ", is ", number));
  }
  return number;
}

absl::StatusOr<int64_t> ReadCount(const ordered_json& json, const char* name, int64_t low) {
  constexpr int kMost = std::numeric_limits<int>::max();
  const auto found = json.find(name);
  if (found == json.end() || !found->is_number_integer()) {
    return FieldError(name, "is missing or no whole number");
  }
  ASSIGN_OR_RETURN(const double number, ReadNumber(json, name, static_cast<double>(low), kMost));
  return static_cast<int64_t>(number);
}

absl::StatusOr<SearchSettings::Entry> ReadEntry(const ordered_json& json) {
  if (!json.is_object()) return absl::InvalidArgumentError("it is no object");
  constexpr double kMostMs = 1e9;
  SearchSettings::Entry entry;
  ASSIGN_OR_RETURN(const int64_t k, ReadCount(json, "k", 1));
  ASSIGN_OR_RETURN(const int64_t depth, ReadCount(json, "rerank_depth", 1));
  ASSIGN_OR_RETURN(const int64_t effort, ReadCount(json, "search_effort", 0));
  ASSIGN_OR_RETURN(entry.recall, ReadNumber(json, "recall", 0, 1));
  ASSIGN_OR_RETURN(entry.median_ms, ReadNumber(json, "median_ms", 0, kMostMs));
  ASSIGN_OR_RETURN(entry.p99_ms, ReadNumber(json, "p99_ms", 0, kMostMs));
  ASSIGN_OR_RETURN(entry.queries, ReadCount(json, "queries", 1));
  ASSIGN_OR_RETURN(const double weight, ReadNumber(json, "fusion_weight", 0, 1));
  ASSIGN_OR_RETURN(const std::string mode_name, ReadText(json, "score_mode"));
  entry.k = static_cast<int>(k);
  entry.rerank_depth = static_cast<int>(depth);
  entry.search_effort = static_cast<int>(effort);
  entry.fusion_weight = static_cast<float>(weight);
  for (const ScoreMode mode : kScoreModes) {
    if (ScoreModeName(mode) == mode_name) {
      entry.mode = mode;
      return entry;
    }
  }
  return FieldError("score_mode", absl::StrCat("is \"", mode_name, "\", which is none"));
}

absl::StatusOr<SearchSettings> FromJson(const ordered_json& json) {
  if (!json.is_object()) return absl::InvalidArgumentError("it is no JSON object");
  ASSIGN_OR_RETURN(const std::string format, ReadText(json, "format"));
  if (format != kFormat) return FieldError("format", absl::StrCat("is not ", kFormat));
  ASSIGN_OR_RETURN(const int64_t version, ReadCount(json, "format_version", 1));
  if (version != kFormatVersion) {
    return absl::InvalidArgumentError(
        absl::StrCat("format version ", version, " is not known; known is ", kFormatVersion));
  }
  SearchSettings settings;
  ASSIGN_OR_RETURN(settings.gallery_version, ReadText(json, "gallery_version"));
  ASSIGN_OR_RETURN(settings.model_fingerprint, ReadText(json, "model_fingerprint"));
  ASSIGN_OR_RETURN(settings.measured_on, ReadText(json, "measured_on"));
  for (const Modality target : kModalities) {
    const auto found = json.find(SideName(target));
    if (found == json.end()) continue;
    absl::StatusOr<SearchSettings::Entry> entry = ReadEntry(*found);
    if (!entry.ok()) {
      return FieldError(SideName(target), absl::StrCat("is wrong: ", entry.status().message()));
    }
    settings.of(target) = *entry;
  }
  return settings;
}

}  // namespace

absl::Status SearchSettings::CheckFits(const std::string& version,
                                       const std::string& fingerprint) const {
  if (version != gallery_version) {
    return absl::FailedPreconditionError(
        absl::StrCat(kSearchSettingsName, " was measured with version ", gallery_version,
                     " of the gallery, which is now ", version, "; run dime_tune again"));
  }
  if (fingerprint != model_fingerprint) {
    return absl::FailedPreconditionError(
        absl::StrCat(kSearchSettingsName, " was measured with model ",
                     model_fingerprint.substr(0, kShownFingerprint), ", not with ",
                     fingerprint.substr(0, kShownFingerprint), "; run dime_tune again"));
  }
  return absl::OkStatus();
}

absl::StatusOr<SearchSettings> SearchSettings::Load(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/", kSearchSettingsName);
  ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  const auto broken = [&path](absl::string_view what) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", what, "; run dime_tune again, or remove the file"));
  };
  if (file->bytes().size() > kMaxFileBytes) return broken("it is too large for search settings");
  const char* const text = reinterpret_cast<const char*>(file->bytes().data());
  const ordered_json json = ordered_json::parse(text, text + file->bytes().size(), nullptr,
                                                /*allow_exceptions=*/false);
  absl::StatusOr<SearchSettings> settings = FromJson(json);
  if (!settings.ok()) return broken(settings.status().message());
  return settings;
}

absl::Status SearchSettings::Save(const std::string& directory) const {
  ordered_json json = {{"format", kFormat},
                       {"format_version", kFormatVersion},
                       {"gallery_version", gallery_version},
                       {"model_fingerprint", model_fingerprint},
                       {"measured_on", measured_on}};
  for (const Modality target : kModalities) {
    const std::optional<Entry>& entry = of(target);
    if (!entry.has_value()) continue;
    json[SideName(target)] = {{"rerank_depth", entry->rerank_depth},
                              {"search_effort", entry->search_effort},
                              {"k", entry->k},
                              {"recall", entry->recall},
                              {"median_ms", entry->median_ms},
                              {"p99_ms", entry->p99_ms},
                              {"queries", entry->queries},
                              {"score_mode", ScoreModeName(entry->mode)},
                              {"fusion_weight", entry->fusion_weight}};
  }
  return WriteFileDurably(absl::StrCat(directory, "/", kSearchSettingsName),
                          json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n");
}

}  // namespace dime
