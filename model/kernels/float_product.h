#ifndef DIME_MODEL_KERNELS_FLOAT_PRODUCT_H_
#define DIME_MODEL_KERNELS_FLOAT_PRODUCT_H_

#include <immintrin.h>

#include <cstddef>

#include "model/kernels/vector_math.h"

// Matrix products in float32 of operands that lie in a core's cache: nothing is packed, and what
// follows a product (a bias, a rectifier, a residual) is done while it is still in registers. For
// the units that vector_math.h is for; in an unnamed namespace for the same reason.
namespace dime::kernels {
namespace {

// A left operand (m, k), or a transposed one: element (i, l) is at data[i * row + l * column].
struct Left {
  const float* data;
  ptrdiff_t row;
  ptrdiff_t column;
};
inline Left Rows(const float* data, ptrdiff_t stride) { return {data, stride, 1}; }
inline Left Columns(const float* data, ptrdiff_t stride) { return {data, 1, stride}; }

// What becomes of a product's 16 values from (row, column) on, of which `mask` says which are
// within the matrix.
struct StoreTo {
  float* to;
  ptrdiff_t stride;
  void operator()(int row, int column, __m512 sum, __mmask16 mask) const {
    _mm512_mask_storeu_ps(to + row * stride + column, mask, sum);
  }
};
struct AddTo {
  float* to;
  ptrdiff_t stride;
  void operator()(int row, int column, __m512 sum, __mmask16 mask) const {
    float* const at = to + row * stride + column;
    _mm512_mask_storeu_ps(at, mask, _mm512_add_ps(_mm512_maskz_loadu_ps(mask, at), sum));
  }
};
struct AddBias {
  float* to;
  ptrdiff_t stride;
  const float* bias;
  void operator()(int row, int column, __m512 sum, __mmask16 mask) const {
    _mm512_mask_storeu_ps(to + row * stride + column, mask,
                          _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, bias + column)));
  }
};
struct AddBiasAndRectify {  // leaves NaN what it is: maxima give their second operand then
  float* to;
  ptrdiff_t stride;
  const float* bias;
  void operator()(int row, int column, __m512 sum, __mmask16 mask) const {
    const __m512 biased = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, bias + column));
    _mm512_mask_storeu_ps(to + row * stride + column, mask,
                          _mm512_max_ps(_mm512_setzero_ps(), biased));
  }
};
// `residual` has the stride of `to`; `bias` may be null.
struct AddResidual {
  float* to;
  ptrdiff_t stride;
  const float* residual;
  const float* bias;
  void operator()(int row, int column, __m512 sum, __mmask16 mask) const {
    sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, residual + row * stride + column));
    if (bias != nullptr) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, bias + column));
    _mm512_mask_storeu_ps(to + row * stride + column, mask, sum);
  }
};
// The gradient before a rectifier: 0 where its output, of the stride of `to`, is 0.
struct WhereRectifierOpen {
  float* to;
  ptrdiff_t stride;
  const float* rectified;
  void operator()(int row, int column, __m512 sum, __mmask16 mask) const {
    const __m512 output = _mm512_maskz_loadu_ps(mask, rectified + row * stride + column);
    const __mmask16 open = _mm512_cmp_ps_mask(output, _mm512_setzero_ps(), _CMP_GT_OQ);
    _mm512_mask_storeu_ps(to + row * stride + column, mask, _mm512_maskz_mov_ps(open, sum));
  }
};

// kRows rows of a product by up to 16 kVectors columns, held in registers.
template <int kRows, int kVectors, class Finish>
inline __attribute__((always_inline)) void FloatBlock(const Left& a, int first_row,
                                                      int first_column, const float* b,
                                                      ptrdiff_t b_stride, int inner, __mmask16 last,
                                                      const Finish& finish) {
  __m512 sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[i][v] = _mm512_setzero_ps();
  }
  const float* left = a.data + first_row * a.row;
  const float* right = b + first_column;
  for (int l = 0; l < inner; ++l, left += a.column, right += b_stride) {
    __m512 values[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v + 1 < kVectors; ++v) values[v] = _mm512_loadu_ps(right + 16 * v);
    values[kVectors - 1] = _mm512_maskz_loadu_ps(last, right + 16 * (kVectors - 1));
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const __m512 factor = _mm512_set1_ps(left[i * a.row]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        sums[i][v] = _mm512_fmadd_ps(factor, values[v], sums[i][v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      finish(first_row + i, first_column + 16 * v, sums[i][v],
             v == kVectors - 1 ? last : static_cast<__mmask16>(0xffff));
    }
  }
}

// All rows of a block of columns: as many at once as the registers hold, then 4, 2 and 1.
template <int kVectors, class Finish>
__attribute__((noinline)) void FloatPanel(const Left& a, int rows, int first_column, const float* b,
                                          ptrdiff_t b_stride, int inner, __mmask16 last,
                                          const Finish& finish) {
  constexpr int kMost = kVectors > 2 ? 6 : 12;
  int i = 0;
  for (; i + kMost <= rows; i += kMost) {
    FloatBlock<kMost, kVectors>(a, i, first_column, b, b_stride, inner, last, finish);
  }
  for (; i + 4 <= rows; i += 4) {
    FloatBlock<4, kVectors>(a, i, first_column, b, b_stride, inner, last, finish);
  }
  if (i + 2 <= rows) {
    FloatBlock<2, kVectors>(a, i, first_column, b, b_stride, inner, last, finish);
    i += 2;
  }
  if (i < rows) FloatBlock<1, kVectors>(a, i, first_column, b, b_stride, inner, last, finish);
}

// finish(A B): A (m, k), B (k, n) row-major with rows `b_stride` floats apart. Each element's sum
// runs over k in order.
template <class Finish>
inline void FloatProduct(const Left& a, const float* b, ptrdiff_t b_stride, int m, int n, int k,
                         const Finish& finish) {
  for (int j = 0; j < n; j += 64) {
    const int vectors = n - j >= 64 ? 4 : (n - j + 15) / 16;
    const __mmask16 last = TailMask16(n - j - 16 * (vectors - 1));
    switch (vectors) {
      case 4:
        FloatPanel<4>(a, m, j, b, b_stride, k, last, finish);
        break;
      case 3:
        FloatPanel<3>(a, m, j, b, b_stride, k, last, finish);
        break;
      case 2:
        FloatPanel<2>(a, m, j, b, b_stride, k, last, finish);
        break;
      default:
        FloatPanel<1>(a, m, j, b, b_stride, k, last, finish);
        break;
    }
  }
}

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_FLOAT_PRODUCT_H_
