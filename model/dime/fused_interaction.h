#ifndef DIME_MODEL_DIME_FUSED_INTERACTION_H_
#define DIME_MODEL_DIME_FUSED_INTERACTION_H_

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "model/dime/direction_model.h"
#include "model/kernels/instructions.h"

namespace dime {

// The items that a training step's pairs are made of, as the heads give them: on the CPU, float32
// or, in mixed precision, bfloat16.
struct PairedItems {
  torch::Tensor regions;       // (images, R, E)
  torch::Tensor image;         // (images, E)
  torch::Tensor words;         // (captions, L, E)
  torch::Tensor sentence;      // (captions, E)
  torch::Tensor word_lengths;  // (captions) int64, valid words, 1 to L
};

// A pair as rows among the images and the captions.
struct ImageCaptionPair {
  int64_t image;
  int64_t caption;
};

// Whether FusedScores() can compute with such tensors on this processor: float32 ones, where
// kernels multiply in float32; within MixedPrecision, of either type, where they multiply in
// bfloat16.
bool CanFuseScores(const PairedItems& items);

// What DirectionModelImpl::Score() gives for `pairs`, up to rounding, float32, differentiable by
// the model's parameters and the items: scores (pairs), path weights (pairs, 36). What depends on
// one side is computed by the modules, once an item; the rest by kernels::TrainingKernel, a few
// pairs at a time in a core's cache, forward and backward. In training mode batch normalisation
// uses and updates its statistics over all the pairs, as the modules do. Where positions tie for a
// maximum, the first has its gradient, which the modules share out. Deterministic for a given
// number of LibTorch's threads. The gradients cannot be differentiated further. Throws c10::Error
// for pairs or lengths out of range, and where CanFuseScores() is false. `instructions`: of the
// kernel, which must be supported; none: the fastest that multiply in float32, within
// MixedPrecision in bfloat16.
InteractionImpl::Output FusedScores(
    DirectionModelImpl& model, const PairedItems& items, const std::vector<ImageCaptionPair>& pairs,
    std::optional<kernels::Instructions> instructions = std::nullopt);

}  // namespace dime

#endif  // DIME_MODEL_DIME_FUSED_INTERACTION_H_
