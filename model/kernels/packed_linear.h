#ifndef DIME_MODEL_KERNELS_PACKED_LINEAR_H_
#define DIME_MODEL_KERNELS_PACKED_LINEAR_H_

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "model/kernels/array.h"
#include "model/kernels/interaction_weights.h"
#include "model/kernels/vector_math.h"

// Weights in the layout that tile_product.h multiplies. For the units that vector_math.h
// is for; static as that is, and what has members in an unnamed namespace, for the same reason.
namespace dime::kernels {
namespace {

static inline Bf16 Round(float value) {  // to the nearest, ties to even
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<Bf16>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static inline float Float(Bf16 value) {
  const uint32_t bits = uint32_t{value} << 16;
  float widened;
  std::memcpy(&widened, &bits, sizeof(widened));
  return widened;
}

// 16 values as their bfloat16 parts for PackSplit(): the high ones, `width` further the low ones,
// and once more the high ones.
static inline void StoreSplit(Bf16* to, int64_t width, __m512 values) {
  const __m256i high = Narrow(values);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), high);
  StoreBf16(to + width, _mm512_sub_ps(values, Widen(high)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 2 * width), high);
}

// W^T in panels of 32 columns, each [steps][2][16][16][2]: for each 32 inner values two tiles of
// pairs. Padded with zeros to whole panels and steps, the bias too.
struct PackedLinear {
  Array<Bf16> panels;
  Array<float> bias;
  int count = 0;  // of panels
  int steps = 0;

  void Allocate(int in, int out) {
    steps = static_cast<int>(RoundUp(in, 32) / 32);
    count = static_cast<int>(RoundUp(out, 32) / 32);
    panels.Resize(int64_t{count} * steps * 1024);
    bias.Resize(int64_t{count} * 32);
  }
  // The weight of input i on output n.
  void Set(int i, int n, Bf16 weight) {
    Bf16* const panel = panels.get() + int64_t{n / 32} * steps * 1024 + (n % 32 / 16) * 512;
    panel[(i / 32) * 1024 + (i % 32 / 2) * 32 + (n % 16) * 2 + i % 2] = weight;
  }
  // Puts outputs of `linear` at columns from `column` on.
  void Put(const LinearWeights& linear, int column) {
    for (int o = 0; o < linear.out; ++o) {
      bias.get()[column + o] = linear.bias[o];
      for (int i = 0; i < linear.in; ++i) {
        Set(i, column + o, Round(linear.weight[int64_t{o} * linear.in + i]));
      }
    }
  }
  void Pack(const LinearWeights& linear) {
    Allocate(linear.in, linear.out);
    Put(linear, 0);
  }
  // For inputs split as StoreSplit() does, which together with the split of the weights here makes
  // products of some 16 bits.
  void PackSplit(const LinearWeights& linear) {
    const int padded = static_cast<int>(RoundUp(linear.in, 32));
    Allocate(3 * padded, linear.out);
    for (int o = 0; o < linear.out; ++o) {
      bias.get()[o] = linear.bias[o];
      for (int i = 0; i < linear.in; ++i) {
        const float weight = linear.weight[int64_t{o} * linear.in + i];
        const Bf16 high = Round(weight);
        Set(i, o, high);
        Set(padded + i, o, high);
        Set(2 * padded + i, o, Round(weight - Float(high)));
      }
    }
  }
};

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_PACKED_LINEAR_H_
