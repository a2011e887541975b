#ifndef DIME_MODEL_DIME_SPLIT_SCORES_H_
#define DIME_MODEL_DIME_SPLIT_SCORES_H_

#include <torch/torch.h>

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "index/features.h"
#include "index/precomputed_dataset.h"
#include "model/dime/modules_model.h"
#include "model/dime/similarity.h"
#include "model/query_scores.h"

namespace dime {

// A split as both stages see it, all of it made in one pass over the model's encoders, which share
// BERT's states between the directions and the first stage. So the features of both directions are
// held at once where both are asked for: a split of 25,000 captions at E = 256 takes some 2 GB.
struct EncodedDataset {
  int captions_per_image = 1;
  // By Direction, on the model's device; undefined tensors where not asked for.
  std::array<EncodedSplit, kNumDirections> directions;
  // On the CPU, unit rows. Captions of equal text have equal rows to the bit.
  torch::Tensor image_coarse;        // (N, C) float32
  torch::Tensor caption_coarse;      // (T, C)
  std::vector<int64_t> first_equal;  // as in EncodedSplit

  const torch::Tensor& coarse(Modality modality) const {
    return modality == Modality::kImage ? image_coarse : caption_coarse;
  }
};

// Encodes all of a split for `directions`, which the model has, and for the first stage. Advances
// by one for each image and each caption.
absl::StatusOr<EncodedDataset> EncodeDataset(const ModulesModel& model,
                                             const PrecomputedDataset& dataset,
                                             absl::Span<const Direction> directions,
                                             const ProgressCallback& progress);

// Rerank scores of some images against some captions, by each direction that was encoded.
struct PairTable {
  std::vector<int64_t> images, captions;  // rows of the split, ascending
  // By Direction: (images, captions) float32 on the CPU; undefined where not encoded.
  std::array<torch::Tensor, kNumDirections> scores;
  std::array<absl::Duration, kNumDirections> time = {};  // that the scoring took

  int64_t pairs() const {
    return static_cast<int64_t>(images.size()) * static_cast<int64_t>(captions.size());
  }
  // Scores in a mode whose directions are there: images [first, first + count) of the table against
  // all its captions, (count, captions), or the other way round, (count, images).
  torch::Tensor OfImages(ScoreMode mode, int64_t first, int64_t count) const;
  torch::Tensor OfCaptions(ScoreMode mode, int64_t first, int64_t count) const;
};

// By the model's kernels where it has them, else by its modules. Captions of equal text get equal
// scores to the bit. Advances by the pairs of each block, for each direction.
PairTable ScorePairs(const ModulesModel& model, const EncodedDataset& dataset,
                     std::vector<int64_t> images, std::vector<int64_t> captions,
                     const ProgressCallback& progress);

// Calls `visit` for each of the table's queries for items of kind `target`, in order, with both
// stages' scores of the table's items. Those are a consecutive stretch of the split that holds all
// true items of the queries; rows and numbers of items count from its first.
void ForEachQuery(const EncodedDataset& dataset, const PairTable& table, Modality target,
                  ScoreMode mode, const std::function<void(const QueryScores&)>& visit);

}  // namespace dime

#endif  // DIME_MODEL_DIME_SPLIT_SCORES_H_
