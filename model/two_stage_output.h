#ifndef DIME_MODEL_TWO_STAGE_OUTPUT_H_
#define DIME_MODEL_TWO_STAGE_OUTPUT_H_

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "index/features.h"
#include "model/two_stage_report.h"

namespace dime {

// What dime_evaluate --two-stage tells: the reports of both kinds searched, with what they were
// measured on, as a table for people, as JSON for programs and as a plot of quality against depth.
// A value; its functions are const.
struct TwoStageOutput {
  struct Kind {
    float fusion_weight = 0;
    TwoStageReport::Summary summary;
    // Mean time of one search of the flat coarse index for each of the summary's depths.
    std::vector<absl::Duration> coarse_search;
    // Mean time of scoring one pair, in the blocks of the exhaustive scoring.
    absl::Duration rerank_per_pair;
    // Summaries of the queries of each kind of caption, where the split names such kinds.
    std::vector<std::pair<std::string, TwoStageReport::Summary>> by_caption_kind;
  };

  std::string model, data, split, device;
  ScoreMode mode = ScoreMode::kEnsemble;
  bool coarse_heads = false;  // the first stage has trained heads
  std::array<Kind, 2> kinds;  // by the kind searched

  const Kind& of(Modality target) const { return kinds[static_cast<int>(target)]; }
  Kind& of(Modality target) { return kinds[static_cast<int>(target)]; }

  std::string Table() const;
  std::string Json() const;
  // SVG: R@1 and R@10 by the rerank and by the fused score against depth, each exhaustive figure as
  // a level line, both directions side by side.
  std::string Plot() const;
};

}  // namespace dime

#endif  // DIME_MODEL_TWO_STAGE_OUTPUT_H_
