#ifndef DIME_MODEL_CUDA_CUDA_SCORER_H_
#define DIME_MODEL_CUDA_CUDA_SCORER_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/cuda/device_kernel.h"
#include "model/model_info.h"
#include "model/pair_scorer.h"

namespace dime {

// The scorer that serves on a CUDA device: DIME's interaction by the kernels of model/cuda. Banks
// lie on the device whole, each item prepared when the bank is made or its slot is written: for
// both directions some three times the size of its float32 features. Queries are prepared once a
// call; pairs read both sides in place, by row. Scores are those of the modules to bfloat16's
// rounding, and the same bits whatever else is in a call. Thread-safe; one call at a time is at
// work on the device. Must outlive its banks.
class CudaScorer : public PairScorer {
 public:
  using Kernels = std::array<std::unique_ptr<cuda::DeviceKernel>, kNumDirections>;

  // `kernels` by Direction, null where the model lacks it; `info` of the model that they are of.
  CudaScorer(Kernels kernels, ModelInfo info);
  ~CudaScorer() override;

  // RESOURCE_EXHAUSTED if the device's memory does not suffice. The features are not needed
  // afterwards.
  absl::StatusOr<std::unique_ptr<FeatureBank>> MakeBank(
      const EncodedItemsView& features) const override;
  absl::StatusOr<std::unique_ptr<FeatureBank>> MakeSlabBank(const EncodedItemsView& shape,
                                                            int64_t capacity) const override;
  int64_t BankItemBytes(const EncodedItemsView& shape) const override;
  absl::StatusOr<std::vector<PairScores>> Score(
      absl::Span<const ScoringRequest> requests) const override;
  bool launches_anywhere() const override { return true; }
  int64_t launch_pairs() const override;  // one call's of its kernels
  RoutingCounts routing_counts() const override;

 private:
  class Bank;
  // Items' blocks side by side on the device.
  class Blocks {
   public:
    explicit Blocks(cuda::DeviceKernel* kernel) : kernel_(kernel) {}
    ~Blocks();
    Blocks(const Blocks&) = delete;
    Blocks& operator=(const Blocks&) = delete;
    // Room for so many of `stride` bytes each; what was there is lost.
    absl::Status Reserve(int64_t count, size_t stride);
    cuda::DeviceBytes at(int64_t i) const { return bytes_ + static_cast<size_t>(i) * stride_; }

   private:
    cuda::DeviceKernel* const kernel_;
    cuda::DeviceBytes bytes_ = nullptr;
    size_t stride_ = 0;
    size_t reserved_ = 0;  // bytes
  };

  cuda::DeviceKernel* kernel(Direction direction) const {
    return kernels_[static_cast<int>(direction)].get();
  }
  size_t BlockBytes(Modality modality, Direction direction) const;
  // Fills the blocks of these rows of `items`.
  absl::Status Prepare(const EncodedItemsView& items, Direction direction, const Blocks& blocks,
                       absl::Span<const int64_t> places) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Fills block q with the query of requests[q], for those that want this direction.
  absl::Status PrepareQueries(absl::Span<const ScoringRequest> requests, Direction direction,
                              const Blocks& blocks) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ScoreDirection(absl::Span<const ScoringRequest> requests, Direction direction,
                              absl::Span<PairScores> results) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Kernels kernels_;
  const ModelInfo info_;
  mutable std::mutex mutex_;  // held while the device works
  // By Direction: of a call's queries.
  mutable std::array<std::unique_ptr<Blocks>, kNumDirections> queries_ ABSL_GUARDED_BY(mutex_);
  mutable std::atomic<int64_t> open_cells_{0};
  mutable std::atomic<int64_t> skipped_cells_{0};
};

}  // namespace dime

#endif  // DIME_MODEL_CUDA_CUDA_SCORER_H_
