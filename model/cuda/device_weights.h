#ifndef DIME_MODEL_CUDA_DEVICE_WEIGHTS_H_
#define DIME_MODEL_CUDA_DEVICE_WEIGHTS_H_

#include <algorithm>
#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"
#include "index/status_macros.h"
#include "model/cuda/device_kernel.h"
#include "model/cuda/device_memory.h"
#include "model/cuda/packed_product.h"
#include "model/cuda/row_tiles.h"
#include "model/cuda/tile_products.h"
#include "model/kernels/interaction_weights.h"

namespace dime::cuda {

// A cell's linear layers, in the order in which its kernel takes them.
struct CellWeights {
  WeightStream stream;
  std::vector<Product> products;
};

// A direction's weights on a device, as its kernels take them: narrowed, padded and packed
// (packed_product.h). What is pointed to is the device's, and lives as long as the DeviceMemory
// that it was uploaded into.
struct DeviceWeights {
  static constexpr int kLayers = 3;
  struct Layer {
    Product router_hidden[kCells];
    const float* router_output[kCells] = {};  // (paths, 8 tiles of the hidden product)
    const float* router_bias[kCells] = {};    // (paths)
    CellWeights guidance, reason, refine;
  };
  Layer layers[kLayers];
  Product projections;                // scale and shift of each layer's refinement, side by side
  const float* norm_scale = nullptr;  // (padded channels)
  const float* norm_shift = nullptr;
  int group_heads = 0;  // heads that `reason` projects at once, by each product but the last two
};

// Channels of sequences and contexts on a device.
inline int PaddedChannels(const kernels::InteractionShape& shape) {
  return RoundUp(shape.embed_size, 32);
}

// Uploads a cell's products one behind another.
template <class Device>
absl::StatusOr<CellWeights> UploadCell(const std::vector<PackedProduct>& packed,
                                       DeviceMemory<Device>& memory) {
  CellWeights cell;
  std::vector<Words4> weights;
  std::vector<float> bias;
  int part = -1;
  for (const PackedProduct& product : packed) {
    weights.insert(weights.end(), product.weights.begin(), product.weights.end());
    bias.insert(bias.end(), product.bias.begin(), product.bias.end());
    if (product.chunk == 0) continue;
    const int bytes = product.chunk * 32 * static_cast<int>(sizeof(Bf16));
    if (part < 0 || cell.stream.bytes[part] != bytes) cell.stream.bytes[++part] = bytes;
    cell.stream.chunks[part] += product.tiles * 8 / product.chunk * product.steps;
  }
  ASSIGN_OR_RETURN(cell.stream.weights, memory.Upload(weights));
  const Words4* next_weights = cell.stream.weights;
  ASSIGN_OR_RETURN(const float* next_bias, memory.Upload(bias));
  for (const PackedProduct& product : packed) {
    cell.products.push_back({.weights = next_weights,
                             .bias = next_bias,
                             .tiles = product.tiles,
                             .steps = product.steps,
                             .chunk = product.chunk});
    next_weights += product.weights.size();
    next_bias += product.bias.size();
  }
  return cell;
}

// Uploads a product by itself, for WarpTiles.
template <class Device>
absl::StatusOr<Product> UploadProduct(const PackedProduct& packed, DeviceMemory<Device>& memory) {
  Product product = {.tiles = packed.tiles, .steps = packed.steps};
  ASSIGN_OR_RETURN(product.weights, memory.Upload(packed.weights));
  ASSIGN_OR_RETURN(product.bias, memory.Upload(packed.bias));
  return product;
}

// Packs and uploads `weights` for cells that multiply by `products`; the errors of the device.
template <class Device>
absl::StatusOr<DeviceWeights> UploadDeviceWeights(const kernels::InteractionWeights& weights,
                                                  const kernels::InteractionShape& shape,
                                                  TileProducts products,
                                                  DeviceMemory<Device>& memory) {
  const int channels = PaddedChannels(shape);
  const int head_size = shape.embed_size / shape.num_heads;
  DeviceWeights device;
  // A group's columns are at most one chunk of weights, if one head's are.
  device.group_heads = std::clamp(kMaxChunk / (3 * RoundUp(head_size, 16)), 1, shape.num_heads);
  const WeightLayout layout =
      products == TileProducts::kWarpgroups ? WeightLayout::kWarpgroups : WeightLayout::kWarps;
  const auto pack = [layout](const kernels::LinearWeights& linear) {
    return PackLinear(linear, layout);
  };
  for (int n = 0; n < DeviceWeights::kLayers; ++n) {
    const kernels::LayerWeights& from = weights.layers[n];
    DeviceWeights::Layer& to = device.layers[n];
    for (int j = 0; j < kCells; ++j) {
      const kernels::LinearWeights& output = from.routers[j].output;
      ASSIGN_OR_RETURN(to.router_hidden[j],
                       UploadProduct(PackSplit(from.routers[j].hidden, channels), memory));
      const int width = to.router_hidden[j].tiles * 8;
      std::vector<float> rows(static_cast<size_t>(output.out) * width, 0.0f);
      for (int p = 0; p < output.out; ++p) {
        std::copy_n(output.weight + static_cast<ptrdiff_t>(p) * output.in, output.in,
                    rows.begin() + static_cast<ptrdiff_t>(p) * width);
      }
      ASSIGN_OR_RETURN(to.router_output[j], memory.Upload(rows));
      ASSIGN_OR_RETURN(to.router_bias[j],
                       memory.Upload(std::vector<float>(output.bias, output.bias + output.out)));
    }
    ASSIGN_OR_RETURN(to.guidance, UploadCell({pack(from.guidance)}, memory));
    std::vector<PackedProduct> reason =
        PackHeads(from, shape.num_heads, device.group_heads, layout);
    reason.push_back(pack(from.feed_in));
    reason.push_back(pack(from.feed_out));
    ASSIGN_OR_RETURN(to.reason, UploadCell(reason, memory));
    ASSIGN_OR_RETURN(to.refine, UploadCell({pack(from.refine_in), pack(from.refine_out)}, memory));
  }
  const kernels::LayerWeights* const layers = weights.layers;
  ASSIGN_OR_RETURN(device.projections,
                   UploadProduct(PackJoined({&layers[0].scale, &layers[0].shift, &layers[1].scale,
                                             &layers[1].shift, &layers[2].scale, &layers[2].shift},
                                            channels),
                                 memory));
  const auto padded = [&](const float* values) {
    std::vector<float> row(static_cast<size_t>(channels), 0.0f);
    std::copy_n(values, shape.embed_size, row.begin());
    return memory.Upload(row);
  };
  ASSIGN_OR_RETURN(device.norm_scale, padded(weights.norm_scale));
  ASSIGN_OR_RETURN(device.norm_shift, padded(weights.norm_shift));
  return device;
}

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_DEVICE_WEIGHTS_H_
