#include "model/cuda/packed_product.h"

#include <algorithm>
#include <cstddef>

#include "index/float_bits.h"

namespace dime::cuda {
namespace {

// `weight`: (out, in).
PackedProduct Pack(absl::Span<const float> weight, absl::Span<const float> bias, int in, int out,
                   WeightLayout layout) {
  PackedProduct product;
  product.steps = RoundUp(in, 32) / 32;
  const auto pair = [&](int n, int k) {
    const auto at = [&](int channel) {
      return n < out && channel < in ? weight[static_cast<size_t>(n) * in + channel] : 0.0f;
    };
    return RoundedPair(at(k), at(k + 1));
  };
  if (layout == WeightLayout::kWarps) {
    product.tiles = RoundUp(out, 32) / 8;
    for (int tile = 0; tile < product.tiles; ++tile) {
      for (int step = 0; step < product.steps; ++step) {
        for (int lane = 0; lane < kWarp; ++lane) {
          const int n = tile * 8 + lane / 4, k = step * 32 + lane % 4 * 2;
          product.weights.push_back({pair(n, k), pair(n, k + 8), pair(n, k + 16), pair(n, k + 24)});
        }
      }
    }
  } else {
    const int columns = RoundUp(out, 64);
    product.tiles = columns / 8;
    product.chunk = kMaxChunk;
    while (columns % product.chunk != 0) product.chunk -= 64;
    for (int first = 0; first < columns; first += product.chunk) {
      for (int step = 0; step < product.steps; ++step) {
        for (int block = 0; block < product.chunk / 8 * 4; ++block) {
          for (int row = 0; row < 8; ++row) {
            const int n = first + block / 4 * 8 + row, k = step * 32 + block % 4 * 8;
            product.weights.push_back({pair(n, k), pair(n, k + 2), pair(n, k + 4), pair(n, k + 6)});
          }
        }
      }
    }
  }
  product.bias.assign(static_cast<size_t>(product.tiles) * 8, 0.0f);
  std::copy(bias.begin(), bias.end(), product.bias.begin());
  return product;
}

absl::Span<const float> WeightOf(const kernels::LinearWeights& linear) {
  return {linear.weight, static_cast<size_t>(linear.in) * linear.out};
}
absl::Span<const float> BiasOf(const kernels::LinearWeights& linear) {
  return {linear.bias, static_cast<size_t>(linear.out)};
}

}  // namespace

PackedProduct PackLinear(const kernels::LinearWeights& linear, WeightLayout layout) {
  return Pack(WeightOf(linear), BiasOf(linear), linear.in, linear.out, layout);
}

std::vector<PackedProduct> PackHeads(const kernels::LayerWeights& layer, int num_heads, int heads,
                                     WeightLayout layout) {
  const int in = layer.query.in, head_size = layer.query.out / num_heads;
  const int width = RoundUp(head_size, 16), out = heads * 3 * width;
  std::vector<PackedProduct> groups;
  for (int first = 0; first < num_heads; first += heads) {
    std::vector<float> weight(static_cast<size_t>(out) * in, 0.0f), bias(out, 0.0f);
    for (int head = first; head < std::min(first + heads, num_heads); ++head) {
      int part = (head - first) * 3;
      for (const auto* const linear : {&layer.query, &layer.key, &layer.value}) {
        const ptrdiff_t from = ptrdiff_t{head} * head_size, to = ptrdiff_t{part++} * width;
        std::copy_n(linear->weight + from * in, ptrdiff_t{head_size} * in,
                    weight.begin() + to * in);
        std::copy_n(linear->bias + from, head_size, bias.begin() + to);
      }
    }
    groups.push_back(Pack(weight, bias, in, out, layout));
  }
  return groups;
}

PackedProduct PackSplit(const kernels::LinearWeights& linear, int width) {
  std::vector<float> weight(static_cast<size_t>(linear.out) * 3 * width, 0.0f);
  for (int o = 0; o < linear.out; ++o) {
    float* const row = weight.data() + static_cast<size_t>(o) * 3 * width;
    for (int i = 0; i < linear.in; ++i) {
      const float value = linear.weight[static_cast<size_t>(o) * linear.in + i];
      const float high = Bfloat16ToFloat(FloatToBfloat16(value));
      row[i] = row[width + i] = high;
      row[2 * width + i] = value - high;
    }
  }
  return Pack(weight, BiasOf(linear), 3 * width, linear.out, WeightLayout::kWarps);
}

PackedProduct PackJoined(absl::Span<const kernels::LinearWeights* const> parts, int width) {
  const int in = parts[0]->in, out = static_cast<int>(parts.size()) * width;
  std::vector<float> weight(static_cast<size_t>(out) * in, 0.0f), bias(out, 0.0f);
  for (size_t p = 0; p < parts.size(); ++p) {
    const size_t first = p * static_cast<size_t>(width);
    const absl::Span<const float> from = WeightOf(*parts[p]), of_bias = BiasOf(*parts[p]);
    std::copy(from.begin(), from.end(), weight.begin() + static_cast<ptrdiff_t>(first * in));
    std::copy(of_bias.begin(), of_bias.end(), bias.begin() + static_cast<ptrdiff_t>(first));
  }
  return Pack(weight, bias, in, out, WeightLayout::kWarps);
}

}  // namespace dime::cuda
