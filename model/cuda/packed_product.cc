#include "model/cuda/packed_product.h"

#include <algorithm>
#include <cstddef>

#include "index/float_bits.h"

namespace dime::cuda {
namespace {

// `weight`: (out, in).
PackedProduct Pack(absl::Span<const float> weight, absl::Span<const float> bias, int in, int out) {
  PackedProduct product;
  product.tiles = RoundUp(out, 32) / 8;
  product.steps = RoundUp(in, 32) / 32;
  const auto pair = [&](int n, int k) {
    const auto at = [&](int channel) {
      return n < out && channel < in ? weight[static_cast<size_t>(n) * in + channel] : 0.0f;
    };
    return RoundedPair(at(k), at(k + 1));
  };
  product.weights.reserve(static_cast<size_t>(product.tiles) * product.steps * kWarp);
  for (int tile = 0; tile < product.tiles; ++tile) {
    for (int step = 0; step < product.steps; ++step) {
      for (int lane = 0; lane < kWarp; ++lane) {
        const int n = tile * 8 + lane / 4, k = step * 32 + lane % 4 * 2;
        product.weights.push_back({pair(n, k), pair(n, k + 8), pair(n, k + 16), pair(n, k + 24)});
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

PackedProduct PackLinear(const kernels::LinearWeights& linear) {
  return Pack(WeightOf(linear), BiasOf(linear), linear.in, linear.out);
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
  return Pack(weight, BiasOf(linear), 3 * width, linear.out);
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
  return Pack(weight, bias, in, out);
}

}  // namespace dime::cuda
