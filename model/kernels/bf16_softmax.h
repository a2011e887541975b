#ifndef DIME_MODEL_KERNELS_BF16_SOFTMAX_H_
#define DIME_MODEL_KERNELS_BF16_SOFTMAX_H_

#include <cstdint>

#include "model/kernels/array.h"
#include "model/kernels/vector_math.h"

// Softmax whose shares are multiplied as bfloat16. For the units that vector_math.h is for; in an
// unnamed namespace for the same reason.
namespace dime::kernels {
namespace {

constexpr float kLog2e = 1.44269504f;

// Softmax's numerators over the first `columns` of each row of scale * scores, as bfloat16 with
// zeros up to a whole 32, and for each row one over their sum.
inline void Softmax(const float* scores, int64_t lds, int rows, int columns, float scale,
                    Bf16* shares, int64_t ldp, float* inverse_sums) {
  const int vectors = static_cast<int>(RoundUp(columns, 16) / 16);
  const int wide = static_cast<int>(RoundUp(columns, 32) / 16);
  const __mmask16 tail = TailMask(columns - (vectors - 1) * 16);
  const __m512 low = _mm512_set1_ps(-3e38f), factor = _mm512_set1_ps(scale * kLog2e);
  alignas(64) float tops[16];
  for (int first = 0; first < rows; first += 16) {
    const int size = Lesser(16, rows - first);
    __m512 v[16];
    for (int r = 0; r < 16; ++r) {
      if (r >= size) {
        v[r] = low;
        continue;
      }
      const float* const row = scores + (first + r) * lds;
      __m512 top = _mm512_mask_loadu_ps(low, tail, row + (vectors - 1) * 16);
      for (int i = 0; i + 1 < vectors; ++i) top = _mm512_max_ps(top, _mm512_loadu_ps(row + i * 16));
      v[r] = top;
    }
    _mm512_store_ps(tops, _mm512_mul_ps(ReduceRows<Max>(v), factor));
    for (int r = 0; r < 16; ++r) {
      if (r >= size) {
        v[r] = _mm512_set1_ps(1.0f);
        continue;
      }
      const float* const row = scores + (first + r) * lds;
      Bf16* const share = shares + (first + r) * ldp;
      const __m512 top = _mm512_set1_ps(tops[r]);
      __m512 sum = _mm512_setzero_ps();
      for (int i = 0; i + 1 < vectors; ++i) {
        const __m512 e = Exp2Coarse(_mm512_fmsub_ps(_mm512_loadu_ps(row + i * 16), factor, top));
        sum = _mm512_add_ps(sum, e);
        StoreBf16(share + i * 16, e);
      }
      const __m512 last = _mm512_maskz_loadu_ps(tail, row + (vectors - 1) * 16);
      const __m512 e = _mm512_maskz_mov_ps(tail, Exp2Coarse(_mm512_fmsub_ps(last, factor, top)));
      sum = _mm512_add_ps(sum, e);
      StoreBf16(share + (vectors - 1) * 16, e);
      if (wide > vectors) StoreBf16(share + vectors * 16, _mm512_setzero_ps());
      v[r] = sum;
    }
    _mm512_storeu_ps(inverse_sums + first, _mm512_div_ps(_mm512_set1_ps(1.0f), ReduceRows<Add>(v)));
  }
}

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_BF16_SOFTMAX_H_
