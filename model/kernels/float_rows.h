#ifndef DIME_MODEL_KERNELS_FLOAT_ROWS_H_
#define DIME_MODEL_KERNELS_FLOAT_ROWS_H_

#include <immintrin.h>

#include <cstdint>

#include "model/kernels/array.h"
#include "model/kernels/vector_math.h"

// What is done to rows of floats between products: sums of columns, transposition, softmax and its
// gradient. Rows need no padding unless it is said. For the units that vector_math.h is for; in an
// unnamed namespace for the same reason.
namespace dime::kernels {
namespace {

constexpr float kLeastNorm = 1e-12f;

// Calls body(first, mask) for each 16 of n floats.
template <class Body>
inline void ForVectors(int64_t n, Body&& body) {
  for (int64_t e = 0; e < n; e += 16)
    body(e, TailMask16(n - e > 16 ? 16 : static_cast<int>(n - e)));
}

inline __m512 Load(const float* from, __mmask16 mask) { return _mm512_maskz_loadu_ps(mask, from); }
inline void Store(float* to, __mmask16 mask, __m512 values) {
  _mm512_mask_storeu_ps(to, mask, values);
}
inline void Accumulate(float* to, __mmask16 mask, __m512 values) {
  Store(to, mask, _mm512_add_ps(Load(to, mask), values));
}
inline __mmask16 IsPositive(__m512 x) {
  return _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ);
}
inline __m512 SignOf(__m512 x) {
  const __m512 zero = _mm512_setzero_ps(), one = _mm512_set1_ps(1);
  const __mmask16 negative = _mm512_cmp_ps_mask(x, zero, _CMP_LT_OQ);
  return _mm512_mask_sub_ps(_mm512_maskz_mov_ps(IsPositive(x), one), negative, zero, one);
}

// 1 / max(norm, 1e-12), the modules' clamp, from sums of squares.
inline __m512 InverseNorm(__m512 squares) {
  return _mm512_div_ps(_mm512_set1_ps(1),
                       _mm512_max_ps(_mm512_sqrt_ps(squares), _mm512_set1_ps(kLeastNorm)));
}
// 1 where a norm was not clamped, else 0: whether it has a gradient.
inline __m512 IsUnclamped(__m512 inverse_norm) {
  const __mmask16 free =
      _mm512_cmp_ps_mask(inverse_norm, _mm512_set1_ps(0.999f / kLeastNorm), _CMP_LT_OQ);
  return _mm512_maskz_mov_ps(free, _mm512_set1_ps(1));
}

// to[n] += the sums of a (rows, n)'s columns.
inline void AddColumnSums(const float* a, int64_t stride, int rows, int n, float* to) {
  ForVectors(n, [&](int64_t e, __mmask16 mask) {
    __m512 sum = _mm512_setzero_ps();
    for (int m = 0; m < rows; ++m) sum = _mm512_add_ps(sum, Load(a + m * stride + e, mask));
    Accumulate(to + e, mask, sum);
  });
}

// (rows, columns) -> (columns, rows).
inline void TransposeTo(const float* from, int64_t from_stride, int rows, int columns, float* to,
                        int64_t to_stride) {
  __m512i block[16];
  for (int i = 0; i < rows; i += 16) {
    const int high = Lesser(16, rows - i);
    for (int j = 0; j < columns; j += 16) {
      const int wide = Lesser(16, columns - j);
      for (int k = 0; k < 16; ++k) {
        block[k] =
            k < high ? _mm512_maskz_loadu_epi32(TailMask16(wide), from + (i + k) * from_stride + j)
                     : _mm512_setzero_si512();
      }
      Transpose(block);
      for (int k = 0; k < wide; ++k) {
        _mm512_mask_storeu_epi32(to + (j + k) * to_stride + i, TailMask16(high), block[k]);
      }
    }
  }
}

// softmax(factor row) over the first n values of each of `rows` rows, zeros from there up to the
// rows' stride, a multiple of 16.
inline void Softmax(float* values, int rows, int n, int stride, float factor) {
  const __m512 scale = _mm512_set1_ps(factor);
  const __mmask16 tail = TailMask16(n - (n - 1) / 16 * 16);
  const int whole = (n - 1) / 16 * 16;  // where the last vector begins
  __m512 magnitude = _mm512_setzero_ps();
  for (int m = 0; m < rows; ++m) {
    const float* const row = values + int64_t{m} * stride;
    for (int e = 0; e < whole; e += 16) {
      magnitude = _mm512_max_ps(magnitude, _mm512_abs_ps(_mm512_loadu_ps(row + e)));
    }
    magnitude = _mm512_max_ps(magnitude, _mm512_abs_ps(Load(row + whole, tail)));
  }
  // Powers of magnitudes like these, and their sums, stay far from float32's limits.
  const bool safe = _mm512_reduce_max_ps(_mm512_abs_ps(_mm512_mul_ps(scale, magnitude))) < 60;
  for (int first = 0; first < rows; first += 16) {
    const int count = Lesser(16, rows - first);
    float* const block = values + int64_t{first} * stride;
    alignas(64) float shifts[16] = {}, inverses[16];
    if (!safe) {
      __m512 most[16];
      for (int i = 0; i < 16; ++i) {
        most[i] = _mm512_set1_ps(-3e38f);
        if (i >= count) continue;
        const float* const row = block + i * stride;
        for (int e = 0; e < whole; e += 16) {
          most[i] = _mm512_max_ps(most[i], _mm512_mul_ps(scale, _mm512_loadu_ps(row + e)));
        }
        most[i] = _mm512_mask_max_ps(most[i], tail, most[i],
                                     _mm512_mul_ps(scale, Load(row + whole, tail)));
      }
      _mm512_store_ps(shifts, ReduceRows<Max>(most));
    }
    __m512 sums[16];
    for (int i = 0; i < 16; ++i) {
      sums[i] = _mm512_setzero_ps();
      if (i >= count) continue;
      float* const row = block + i * stride;
      const __m512 shift = _mm512_set1_ps(shifts[i]);
      for (int e = 0; e < whole; e += 16) {
        const __m512 power = Exp(_mm512_fmsub_ps(scale, _mm512_loadu_ps(row + e), shift));
        _mm512_storeu_ps(row + e, power);
        sums[i] = _mm512_add_ps(sums[i], power);
      }
      const __m512 power =
          _mm512_maskz_mov_ps(tail, Exp(_mm512_fmsub_ps(scale, Load(row + whole, tail), shift)));
      _mm512_storeu_ps(row + whole, power);
      sums[i] = _mm512_add_ps(sums[i], power);
    }
    _mm512_store_ps(inverses, _mm512_div_ps(_mm512_set1_ps(1), ReduceRows<Add>(sums)));
    for (int i = 0; i < count; ++i) {
      float* const row = block + i * stride;
      const __m512 inverse = _mm512_set1_ps(inverses[i]);
      for (int e = 0; e <= whole; e += 16) {
        _mm512_storeu_ps(row + e, _mm512_mul_ps(inverse, _mm512_loadu_ps(row + e)));
      }
      for (int e = whole + 16; e < stride; e += 16) _mm512_storeu_ps(row + e, _mm512_setzero_ps());
    }
  }
}

// The gradients with respect to the rows given to Softmax(), from those of its result, in place.
inline void SoftmaxGradient(const float* shares, float* gradient, int rows, int n, int stride,
                            float factor) {
  const __m512 scale = _mm512_set1_ps(factor);
  for (int first = 0; first < rows; first += 16) {
    const int count = Lesser(16, rows - first);
    const int64_t at = int64_t{first} * stride;
    alignas(64) float means[16];
    __m512 dots[16];
    for (int i = 0; i < 16; ++i) {
      dots[i] = _mm512_setzero_ps();
      if (i >= count) continue;
      for (int e = 0; e < n; e += 16) {
        const __mmask16 mask = TailMask16(n - e);
        dots[i] = _mm512_fmadd_ps(Load(shares + at + i * stride + e, mask),
                                  Load(gradient + at + i * stride + e, mask), dots[i]);
      }
    }
    _mm512_store_ps(means, ReduceRows<Add>(dots));
    for (int i = 0; i < count; ++i) {
      const __m512 mean = _mm512_set1_ps(means[i]);
      float* const row = gradient + at + i * stride;
      for (int e = 0; e < n; e += 16) {
        const __mmask16 mask = TailMask16(n - e);
        const __m512 share = _mm512_mul_ps(scale, Load(shares + at + i * stride + e, mask));
        Store(row + e, mask, _mm512_mul_ps(share, _mm512_sub_ps(Load(row + e, mask), mean)));
      }
    }
  }
}

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_FLOAT_ROWS_H_
