#ifndef DIME_MODEL_CUDA_PACKED_PRODUCT_H_
#define DIME_MODEL_CUDA_PACKED_PRODUCT_H_

#include <vector>

#include "absl/types/span.h"
#include "model/cuda/simt.h"
#include "model/kernels/interaction_weights.h"

namespace dime::cuda {

// W^T and bias of a linear layer on the host, as the device's kernels multiply by them (see Product
// in row_tiles.h): padded with zeros to whole tiles of 32 columns and steps of 32 inner values.
struct PackedProduct {
  std::vector<Words4> weights;  // (tiles, steps, 32 lanes): tiles of 8 columns
  std::vector<float> bias;      // (8 tiles)
  int tiles = 0;
  int steps = 0;
};

PackedProduct PackLinear(const kernels::LinearWeights& linear);
// For inputs laid out by StoreSplit(), rows of 3 x `width`: high times high, low times high, high
// times low.
PackedProduct PackSplit(const kernels::LinearWeights& linear, int width);
// Several layers of one input side by side, each from a multiple of `width` columns on.
PackedProduct PackJoined(absl::Span<const kernels::LinearWeights* const> parts, int width);

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_PACKED_PRODUCT_H_
