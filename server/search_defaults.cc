#include "server/search_defaults.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace dime {
namespace {

// What dime_tune measured, if it holds here.
std::optional<SearchSettings> Fitting(const absl::StatusOr<SearchSettings>& settings,
                                      const GalleryInfo& gallery, const ModelInfo& model,
                                      std::vector<std::string>& warnings) {
  if (absl::IsNotFound(settings.status())) return std::nullopt;
  const absl::Status fits =
      settings.ok() ? settings->CheckFits(gallery.lineage, model.fingerprint) : settings.status();
  if (!fits.ok()) {
    warnings.push_back(absl::StrCat("tuned search settings are not used: ", fits.message()));
    return std::nullopt;
  }
  SearchSettings fitting = *settings;
  for (const Modality target : {Modality::kImage, Modality::kCaption}) {
    std::optional<SearchSettings::Entry>& entry = fitting.of(target);
    if (!entry.has_value()) continue;
    const ScoreMode mode = model.DefaultMode();
    const float weight = model.ranking.FusionWeight(target, mode);
    constexpr float kRounding = 1e-6f;
    if (entry->mode == mode && std::abs(entry->fusion_weight - weight) <= kRounding) continue;
    warnings.push_back(absl::StrFormat(
        "tuned search settings for %ss are not used: they were measured with score mode %s and "
        "fusion weight %g, but the model's defaults are %s and %g; run dime_tune again",
        std::string(ModalityName(target)), std::string(ScoreModeName(entry->mode)),
        entry->fusion_weight, std::string(ScoreModeName(mode)), weight));
    entry.reset();
  }
  return fitting;
}

}  // namespace

SearchDefaults SearchDefaults::Choose(const SearchLimits& limits, const Flags& flags,
                                      const absl::StatusOr<SearchSettings>& settings,
                                      const GalleryInfo& gallery, const ModelInfo& model,
                                      int device_depth) {
  SearchDefaults defaults{.limits = limits};
  const std::optional<SearchSettings> tuned = Fitting(settings, gallery, model, defaults.warnings);

  for (const Modality target : {Modality::kImage, Modality::kCaption}) {
    const bool images = target == Modality::kImage;
    const std::optional<int> flag_depth = images || !flags.caption_rerank_depth.has_value()
                                              ? flags.rerank_depth
                                              : flags.caption_rerank_depth;
    const std::optional<int> flag_effort = images || !flags.caption_search_effort.has_value()
                                               ? flags.search_effort
                                               : flags.caption_search_effort;
    const SearchSettings::Entry* const entry =
        tuned.has_value() && tuned->of(target).has_value() ? &*tuned->of(target) : nullptr;

    int depth = std::min(device_depth, limits.max_rerank_depth);
    int effort = 0;
    if (entry != nullptr) {
      depth = std::min(entry->rerank_depth, limits.max_rerank_depth);
      effort = std::min(entry->search_effort, limits.max_search_effort);
      if (depth < entry->rerank_depth && !flag_depth.has_value()) {
        defaults.warnings.push_back(absl::StrCat(
            "the tuned rerank depth for ", ModalityName(target), "s, ", entry->rerank_depth,
            ", is cut to max_rerank_depth, ", depth, ": recall will be lower than measured"));
      }
    }
    if (flag_depth.has_value()) depth = *flag_depth;
    if (flag_effort.has_value()) effort = *flag_effort;
    (images ? defaults.limits.default_rerank_depth : defaults.limits.default_caption_rerank_depth) =
        depth;
    (images ? defaults.limits.default_search_effort
            : defaults.limits.default_caption_search_effort) = effort;

    std::string source;
    if (flag_depth.has_value() && flag_effort.has_value()) {
      source = "by flags";
    } else if (entry == nullptr) {
      source = flag_depth.has_value()    ? "depth by flag"
               : flag_effort.has_value() ? "depth by device, effort by flag"
                                         : "by device; dime_tune finds better ones";
    } else if (flag_depth.has_value() || flag_effort.has_value()) {
      source = absl::StrCat(flag_depth.has_value() ? "depth" : "effort",
                            " by flag, the other from ", kSearchSettingsName);
    } else {
      source = absl::StrFormat("from %s: %.1f%% of the exhaustive top %d, p99 %.1f ms",
                               kSearchSettingsName, 100 * entry->recall, entry->k, entry->p99_ms);
    }
    absl::StrAppend(&defaults.description, images ? "" : "; ", ModalityName(target),
                    "s: rerank depth ", depth,
                    effort > 0 ? absl::StrCat(", search effort ", effort) : "", " (", source, ")");
  }
  return defaults;
}

}  // namespace dime
