#include "model/rerank_gate.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace dime {

std::string RerankLosesWarning(ScoreMode mode, double coarse, double rerank,
                               absl::string_view measured_on) {
  return absl::StrFormat(
      "WARNING: RERANKING MAKES THIS MODEL'S ANSWERS WORSE in mode %s: R@1 + R@5 + R@10 over both "
      "kinds searched is %.1f by the rerank score, %.1f by the first stage alone (%s). Such "
      "searches cost more and find less than with a fusion weight of 1, which answers without "
      "reranking.",
      ScoreModeName(mode), rerank, coarse, measured_on);
}

std::vector<std::string> RerankWarnings(const ModelInfo& model) {
  std::vector<std::string> warnings;
  const ScoreMode standard = model.DefaultMode();
  for (ScoreMode mode : kScoreModes) {
    if (!model.Serves(mode) || !model.ranking.RerankLoses(mode)) continue;
    double coarse = 0, rerank = 0;
    for (Modality target : {Modality::kImage, Modality::kCaption}) {
      coarse += model.ranking.of(target, mode)->coarse_recall;
      rerank += model.ranking.of(target, mode)->rerank_recall;
    }
    const std::string measured_on = model.ranking.tuned_on.empty()
                                        ? "of ranking.json"
                                        : absl::StrCat("measured on ", model.ranking.tuned_on);
    warnings.push_back(absl::StrCat(
        RerankLosesWarning(mode, coarse, rerank, measured_on),
        mode == standard
            ? " It is the default all the same, as no mode of this model is better."
            : absl::StrCat(" It is not the default; that is ", ScoreModeName(standard), ".")));
  }
  return warnings;
}

}  // namespace dime
