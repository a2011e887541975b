#ifndef DIME_MODEL_CUDA_PACKED_PRODUCT_H_
#define DIME_MODEL_CUDA_PACKED_PRODUCT_H_

#include <vector>

#include "absl/types/span.h"
#include "model/cuda/simt.h"
#include "model/kernels/interaction_weights.h"

namespace dime::cuda {

// How weights lie, for WarpTiles or WarpgroupTiles (tile_products.h).
enum class WeightLayout { kWarps, kWarpgroups };

// Columns that lie together for warpgroups: as many, two thirds or a third.
inline constexpr int kMaxChunk = 192;

// W^T and bias of a linear layer on the host, as the device's kernels multiply by them (see Product
// in tile_products.h): padded with zeros to steps of 32 inner values and 32 columns, or 64 for
// warpgroups.
struct PackedProduct {
  std::vector<Words4> weights;
  std::vector<float> bias;  // (8 tiles)
  int tiles = 0;            // of 8 columns
  int steps = 0;
  int chunk = 0;  // for warpgroups: columns that lie together
};

PackedProduct PackLinear(const kernels::LinearWeights& linear, WeightLayout layout);
// Query, key and value of some heads, side by side by head, each padded with zeros to a multiple of
// 16 columns; `heads` at a time, so that there may be none in the last product's last columns.
std::vector<PackedProduct> PackHeads(const kernels::LayerWeights& layer, int num_heads, int heads,
                                     WeightLayout layout);
// For WarpTiles. Of inputs laid out by StoreSplit(), rows of 3 x `width`: high times high, low
// times high, high times low.
PackedProduct PackSplit(const kernels::LinearWeights& linear, int width);
// For WarpTiles. Several layers of one input side by side, each from a multiple of `width` columns
// on.
PackedProduct PackJoined(absl::Span<const kernels::LinearWeights* const> parts, int width);

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_PACKED_PRODUCT_H_
