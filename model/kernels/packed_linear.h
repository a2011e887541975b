#ifndef DIME_MODEL_KERNELS_PACKED_LINEAR_H_
#define DIME_MODEL_KERNELS_PACKED_LINEAR_H_

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "model/kernels/array.h"
#include "model/kernels/interaction_weights.h"
#include "model/kernels/tile_operands.h"
#include "model/kernels/vector_math.h"

// Weights in the layout that tile_product.h multiplies. For the units that vector_math.h
// is for; static as that is, and what has members in an unnamed namespace, for the same reason.
namespace dime::kernels {
namespace {

// 16 values as two bfloat16 parts, which together have some 16 bits: the high ones, and `width`
// further the low ones.
static inline void StoreSplit(Bf16* to, int64_t width, __m512 values) {
  const __m256i high = Narrow(values);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), high);
  StoreBf16(to + width, _mm512_sub_ps(values, Widen(high)));
}

// W^T in panels as PackColumns() makes them, and the bias. Padded with zeros to whole panels and
// steps, the bias too.
struct PackedLinear {
  Array<Bf16> panels;
  Array<float> bias;
  int count = 0;  // of panels
  int steps = 0;
  int parts = 1;  // of a weight: 2 where they are split

  void Allocate(int in, int out, int parts_of_a_weight, Slab& slab) {
    steps = static_cast<int>(RoundUp(in, 32) / 32);
    count = static_cast<int>(RoundUp(out, 32) / 32);
    parts = parts_of_a_weight;
    panels.Resize(count * PanelSize(), slab);
    bias.Resize(int64_t{count} * 32, slab);
  }
  int64_t PanelSize() const { return int64_t{steps} * parts * 1024; }
  const Bf16* Panel(int n) const { return panels.get() + n * PanelSize(); }
  // Puts outputs of `linear` at columns from `column` on, where a panel begins.
  void Put(const LinearWeights& linear, int column) {
    std::memcpy(bias.get() + column, linear.bias, linear.out * sizeof(float));
    PackColumns(linear.weight, linear.in, linear.in, linear.out, parts,
                panels.get() + column / kBlock * PanelSize());
  }
  void Pack(const LinearWeights& linear, Slab& slab) {
    Allocate(linear.in, linear.out, 1, slab);
    Put(linear, 0);
  }
  // For inputs split as StoreSplit() does.
  void PackSplit(const LinearWeights& linear, Slab& slab) {
    Allocate(linear.in, linear.out, 2, slab);
    Put(linear, 0);
  }
};

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_PACKED_LINEAR_H_
