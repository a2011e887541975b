#ifndef DIME_MODEL_PAIR_SCORER_H_
#define DIME_MODEL_PAIR_SCORER_H_

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "index/features.h"
#include "model/model_info.h"

namespace dime {

// Items where a PairScorer wants them: their local features resident on the scorer's device. Made
// by PairScorer::MakeBank() or MakeSlabBank(), used only with the scorer that made it.
// Thread-safe; a bank of MakeBank() is immutable.
class FeatureBank {
 public:
  virtual ~FeatureBank() = default;
  virtual Modality modality() const = 0;
  virtual int64_t count() const = 0;
  // Puts an item into each of the slots of a slab bank. Others may score other slots meanwhile, but
  // not these. INVALID_ARGUMENT for items that do not fit, FAILED_PRECONDITION for a bank that is
  // no slab.
  virtual absl::Status Write(absl::Span<const int64_t> slots, const EncodedItemsView& items);
};

// One query against rows of a bank of the other modality.
struct ScoringRequest {
  EncodedItemsView query;  // count = 1
  const FeatureBank* bank = nullptr;
  absl::Span<const int64_t> rows;  // (K), each within the bank; repeats are allowed
  ScoreMode mode = ScoreMode::kEnsemble;
  bool want_paths = false;
};

// The answer, in the order of the request's rows. Arrays by Direction; those that the mode does not
// use stay empty.
struct PairScores {
  std::array<std::vector<float>, kNumDirections> scores;  // (K), cosines in [-1, 1]
  // (K, 36) path weights, only where wanted; see kNumPathWeights.
  std::array<std::vector<float>, kNumDirections> paths;

  // (K): the one direction's scores, or the mean of both.
  std::vector<float> Combined() const;
};

// How many cells' outputs were computed, and how many were not because every gate on their paths
// was shut: over all pairs so far. What is computed once for many pairs counts in neither.
struct RoutingCounts {
  int64_t run = 0;
  int64_t skipped = 0;
};

// The second stage: DIME's routed cross-modal cells over (query, candidate) pairs. One interface
// between the pipeline and whatever computes: the modules, or kernels compared with them.
// Implementations are thread-safe. A pair's score does not depend on what else is in the call
// beyond rounding.
class PairScorer {
 public:
  virtual ~PairScorer() = default;

  // Moves features to the device. The view must outlive the bank: on the CPU it is used in place.
  virtual absl::StatusOr<std::unique_ptr<FeatureBank>> MakeBank(
      const EncodedItemsView& features) const = 0;

  // A bank of `capacity` slots for items of these sizes (a view of no items), to be filled by
  // FeatureBank::Write(); memory is taken as slots are. UNIMPLEMENTED for a scorer without slabs.
  virtual absl::StatusOr<std::unique_ptr<FeatureBank>> MakeSlabBank(const EncodedItemsView& shape,
                                                                    int64_t capacity) const;

  // Bytes, where the bank is, of an item of this shape in a bank of MakeSlabBank().
  virtual int64_t BankItemBytes(const EncodedItemsView& shape) const;

  // Scores several requests in one launch, an answer each. INVALID_ARGUMENT for a mode that the
  // model does not serve or shapes that do not fit.
  virtual absl::StatusOr<std::vector<PairScores>> Score(
      absl::Span<const ScoringRequest> requests) const = 0;

  // Whether a launch costs the same from any thread, one at a time. Not so where a thread gets a
  // team or a device's state of its own by launching: such a scorer is better off with one thread.
  virtual bool launches_anywhere() const { return false; }

  // Pairs that one launch had best be of, where there are as many.
  virtual int64_t launch_pairs() const { return 512; }

  // Zeros from a scorer that computes every cell.
  virtual RoutingCounts routing_counts() const { return {}; }
};

// INVALID_ARGUMENT for features whose embedding sizes are not the model's, or a request that does
// not fit the model or its bank. For implementations.
absl::Status CheckFeatureShape(const EncodedItemsView& features, const ModelInfo& model);
absl::Status CheckScoringRequest(const ScoringRequest& request, const ModelInfo& model);

}  // namespace dime

#endif  // DIME_MODEL_PAIR_SCORER_H_
