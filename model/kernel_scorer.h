#ifndef DIME_MODEL_KERNEL_SCORER_H_
#define DIME_MODEL_KERNEL_SCORER_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/idle_pool.h"
#include "model/kernels/interaction_kernel.h"
#include "model/model_info.h"
#include "model/pair_scorer.h"
#include "model/thread_team.h"

namespace dime {

// The scorer that serves on a CPU: DIME's interaction by the kernels of model/kernels, on all
// cores. A query is prepared once a call. A gallery item is prepared when it is first scored and
// kept, as long as a bank's items take no more than `prepared_bytes`; beyond that it is prepared
// anew each time, which costs about half as much again. Scores are those of the modules to
// the kernel's rounding, and the same bits whatever else is in a call. Thread-safe. Banks borrow
// their features' memory, as PairScorer says.
class KernelScorer : public PairScorer {
 public:
  using Kernels = std::array<std::unique_ptr<const kernels::InteractionKernel>, kNumDirections>;
  struct Options {
    // Whose threads score, others' work beside; null: a team of its own, of a thread for each core
    // that the process may use.
    std::shared_ptr<ThreadTeam> team;
    int64_t prepared_bytes = int64_t{4} << 30;  // of a bank's prepared items
  };

  // `kernels` by Direction, null where the model lacks it; `info` of the model that they are of.
  KernelScorer(Kernels kernels, ModelInfo info, const Options& options);
  ~KernelScorer() override;

  absl::StatusOr<std::unique_ptr<FeatureBank>> MakeBank(
      const EncodedItemsView& features) const override;
  absl::StatusOr<std::unique_ptr<FeatureBank>> MakeSlabBank(const EncodedItemsView& shape,
                                                            int64_t capacity) const override;
  absl::StatusOr<std::vector<PairScores>> Score(
      absl::Span<const ScoringRequest> requests) const override;
  bool launches_anywhere() const override { return true; }  // its threads are its team's
  RoutingCounts routing_counts() const override;

  // All pairs of some images and captions, by their rows, of a direction that the model has and
  // both views hold: `out` (image_rows, caption_rows). Block by block, so that little is kept
  // prepared at once; `progress`, if it is not empty, is called from one thread with the pairs of
  // each block.
  void ScoreMatrix(Direction direction, const EncodedItemsView& images,
                   absl::Span<const int64_t> image_rows, const EncodedItemsView& captions,
                   absl::Span<const int64_t> caption_rows, absl::Span<float> out,
                   const std::function<void(int64_t)>& progress) const;

 private:
  class Bank;
  class Lease;  // of a workspace
  class PreparedBlock;
  void ScoreDirection(absl::Span<const ScoringRequest> requests, Direction direction,
                      absl::Span<PairScores> results) const;
  const kernels::InteractionKernel* kernel(Direction direction) const {
    return kernels_[static_cast<int>(direction)].get();
  }

  const Kernels kernels_;
  const ModelInfo info_;
  Options options_;  // with a team
  // By Direction.
  mutable std::array<IdlePool<kernels::InteractionKernel::Workspace>, kNumDirections> idle_;
  mutable std::atomic<int64_t> open_cells_{0};
  mutable std::atomic<int64_t> skipped_cells_{0};
};

}  // namespace dime

#endif  // DIME_MODEL_KERNEL_SCORER_H_
