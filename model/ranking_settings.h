#ifndef DIME_MODEL_RANKING_SETTINGS_H_
#define DIME_MODEL_RANKING_SETTINGS_H_

#include <array>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "index/features.h"

namespace dime {

inline constexpr char kRankingSettingsName[] = "ranking.json";

// What held-out data say of how a model's two stages go together: the share of the coarse score in
// the final one, whether reranking helps at all, and how high the final score can be where the
// coarse score is low. Kept in the model directory as ranking.json, which dime_evaluate
// --tune-fusion writes; not part of the model's fingerprint, since no stored feature hangs on it.
// A value; not thread-safe.
struct RankingSettings {
  // Of one kind searched and one score mode.
  struct Entry {
    // Share of the coarse score, in [0, 1]: final = (1 - w) rerank + w coarse.
    float fusion_weight = 0;
    // R@1 + R@5 + R@10 in percent (0 to 300) of each order on the held-out data.
    double coarse_recall = 0;
    double rerank_recall = 0;
    double fused_recall = 0;
    // Almost no item's final score lies above slope x coarse score + intercept; the bound by which
    // adaptive depth stops. Absent: not calibrated.
    struct Bound {
      float slope = 0;
      float intercept = 0;
    };
    std::optional<Bound> bound;
  };

  // entries[kind searched][score mode]; absent: not tuned.
  std::array<std::array<std::optional<Entry>, kNumScoreModes>, 2> entries;
  // What they were tuned on, for people: "dev of world, 500 images, 2500 captions".
  std::string tuned_on;

  const std::optional<Entry>& of(Modality target, ScoreMode mode) const {
    return entries[static_cast<int>(target)][static_cast<int>(mode)];
  }
  std::optional<Entry>& of(Modality target, ScoreMode mode) {
    return entries[static_cast<int>(target)][static_cast<int>(mode)];
  }
  // 0 where not tuned.
  float FusionWeight(Modality target, ScoreMode mode) const;
  // Whether the mode's reranking was found to lose to the coarse order: the sum of recalls over
  // both kinds searched is lower. False where it was not measured.
  bool RerankLoses(ScoreMode mode) const;

  // Of a model directory; all absent if it has no such file. INVALID_ARGUMENT naming file and
  // field.
  static absl::StatusOr<RankingSettings> Load(const std::string& directory);
  // Replaces the file at once.
  absl::Status Save(const std::string& directory) const;
};

}  // namespace dime

#endif  // DIME_MODEL_RANKING_SETTINGS_H_
