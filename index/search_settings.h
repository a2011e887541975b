#ifndef DIME_INDEX_SEARCH_SETTINGS_H_
#define DIME_INDEX_SEARCH_SETTINGS_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "index/features.h"

namespace dime {

inline constexpr char kSearchSettingsName[] = "search_settings.json";

// How a gallery is searched at the least cost that still keeps the exhaustive answer, as dime_tune
// measured it: for each kind searched a rerank depth and an effort of the coarse index. Kept in the
// gallery directory as search_settings.json and taken by dime_server as its defaults. The numbers
// hold for the gallery, the model and the fusion weight that they were measured with; CheckFits()
// tells whether those are the ones at hand.
// A value; not thread-safe.
struct SearchSettings {
  // Of one kind searched.
  struct Entry {
    int rerank_depth = 0;   // candidates to rerank, at least k
    int search_effort = 0;  // see CoarseIndex::SearchOptions; 0 = the index's own default
    // What was measured at that setting.
    int k = 0;             // hits compared with those of exhaustive reranking, at least 1
    double recall = 0;     // the share of them that was kept, 0 to 1
    double median_ms = 0;  // of a whole search, one at a time
    double p99_ms = 0;
    int64_t queries = 0;  // that were measured, at least 1
    // How the hits were ordered: the model's defaults at the time.
    ScoreMode mode = ScoreMode::kEnsemble;
    float fusion_weight = 0;  // share of the coarse score, in [0, 1]
  };

  std::string gallery_version;
  std::string model_fingerprint;
  std::string measured_on;                      // the device, for people
  std::array<std::optional<Entry>, 2> entries;  // by Modality searched; absent: not tuned

  const std::optional<Entry>& of(Modality target) const {
    return entries[static_cast<int>(target)];
  }
  std::optional<Entry>& of(Modality target) { return entries[static_cast<int>(target)]; }

  // FAILED_PRECONDITION, saying what differs and what to do, unless the settings were measured with
  // this version of the gallery and this model.
  absl::Status CheckFits(const std::string& gallery_version,
                         const std::string& model_fingerprint) const;

  // Of a gallery directory. NOT_FOUND if it has no such file; INVALID_ARGUMENT naming file and
  // field for a damaged one.
  static absl::StatusOr<SearchSettings> Load(const std::string& directory);
  // Replaces the file at once.
  absl::Status Save(const std::string& directory) const;
};

}  // namespace dime

#endif  // DIME_INDEX_SEARCH_SETTINGS_H_
