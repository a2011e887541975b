#ifndef DIME_MODEL_KERNELS_TILE_OPERANDS_H_
#define DIME_MODEL_KERNELS_TILE_OPERANDS_H_

#include <immintrin.h>

#include <cstdint>

#include "model/kernels/array.h"
#include "model/kernels/tile_product.h"
#include "model/kernels/vector_math.h"

// Float32 matrices rounded to tile_product.h's operands. "Steps" are 32 of the inner dimension,
// "panels" 32 of a right operand's columns: [steps][2 tiles of 16 columns][16][16][2]. What pads
// them is zero. For the units that vector_math.h is for; in an unnamed namespace, as they share no
// inline functions with others.
namespace dime::kernels {
namespace {

constexpr int64_t LeftStride(int64_t inner) { return RoundUp(inner, 32); }
constexpr int64_t PanelSize(int64_t inner) { return RoundUp(inner, 32) * kBlock; }
constexpr int64_t RightSize(int64_t inner, int64_t columns) {
  return RoundUp(columns, kBlock) / kBlock * PanelSize(inner);
}

// Up to 16 of a row, zeros after `count` of them, for any count.
inline __m512 LoadUpTo(const float* from, int count) {
  return count >= kWidth ? LoadAll(from) : Load(from, TailMask(count));
}

// A left operand of a row: (n) -> (LeftStride(n)).
inline void RoundRow(const float* from, int n, Bf16* to) {
  for (int e = 0; e < n; e += 32) {
    StorePair(to + e, LoadUpTo(from + e, n - e), LoadUpTo(from + e + 16, n - e - 16));
  }
}

// Words of two neighbouring rows, which may be missing: (first[i], second[i]) for 16 columns.
inline __m512i PairWords(__m512 first, __m512 second) {
  const __m512i low = _mm512_cvtepu16_epi32(Narrow(first));
  const __m512i high = _mm512_cvtepu16_epi32(Narrow(second));
  return low | _mm512_slli_epi32(high, 16);
}
// 16 columns from `from` on of rows 2 k and 2 k + 1 of `rows`.
inline __m512i RowPair(const float* from, int64_t stride, int k, int rows, int columns) {
  const float* const at = from + 2 * k * stride;
  const __m512 first = 2 * k < rows ? LoadUpTo(at, columns) : _mm512_setzero_ps();
  const __m512 second = 2 * k + 1 < rows ? LoadUpTo(at + stride, columns) : _mm512_setzero_ps();
  return PairWords(first, second);
}

// A right operand (rows, columns) from a row-major matrix of that shape.
inline void PackRows(const float* from, int64_t stride, int rows, int columns, Bf16* to) {
  const int pairs = static_cast<int>(RoundUp(rows, 32) / 2);
  for (int j = 0; j < columns; j += kBlock) {
    Bf16* const panel = to + j / kBlock * PanelSize(rows);
    for (int k = 0; k < pairs; ++k) {
      Bf16* const at = panel + k / 16 * 1024 + k % 16 * 32;
      _mm512_storeu_si512(at, RowPair(from + j, stride, k, rows, columns - j));
      _mm512_storeu_si512(at + 512, RowPair(from + j + 16, stride, k, rows, columns - j - 16));
    }
  }
}

// Words of two neighbouring values of a row: 32 of them, zeros after `count`. `low`: of what
// rounding takes from them.
inline __m512i RowWords(const float* from, int count, bool low) {
  __m512 first = LoadUpTo(from, count), second = LoadUpTo(from + 16, count - 16);
  if (low) {
    first = first - Widen(Narrow(first));
    second = second - Widen(Narrow(second));
  }
  return (__m512i)_mm512_cvtne2ps_pbh(second, first);
}

// A right operand (inner, columns) from the transposed matrix, (columns, inner) row-major. `parts`
// 2: numbers are split, which gives each step two tiles of high parts and two of low ones, so that
// panels are twice as large.
inline void PackColumns(const float* from, int64_t stride, int inner, int columns, int parts,
                        Bf16* to) {
  const int steps = static_cast<int>(RoundUp(inner, 32) / 32);
  for (int j = 0; j < RoundUp(columns, kBlock); j += 16) {
    Bf16* const panel = to + j / kBlock * parts * PanelSize(inner) + j % kBlock / 16 * 512;
    for (int s = 0; s < steps * parts; ++s) {
      const int k = s / parts * 32;
      __m512i words[16];
      for (int i = 0; i < 16; ++i) {
        words[i] = j + i < columns ? RowWords(from + (j + i) * stride + k, inner - k, s % parts > 0)
                                   : _mm512_setzero_si512();
      }
      Transpose(words);
      for (int i = 0; i < 16; ++i) _mm512_storeu_si512(panel + s * 1024 + i * 32, words[i]);
    }
  }
}

// A left operand (columns, rows), in rows of LeftStride(rows), from a row-major matrix (rows,
// columns); rows up to a multiple of 32 of it, those beyond zero.
inline void TransposeRows(const float* from, int64_t stride, int rows, int columns, Bf16* to) {
  const int64_t to_stride = LeftStride(rows);
  for (int j = 0; j < RoundUp(columns, kBlock); j += 16) {
    for (int k = 0; k < to_stride; k += 32) {
      __m512i words[16];
      for (int i = 0; i < 16; ++i) {
        words[i] = RowPair(from + j, stride, k / 2 + i, rows, columns - j);
      }
      Transpose(words);
      for (int i = 0; i < 16; ++i) _mm512_storeu_si512(to + (j + i) * to_stride + k, words[i]);
    }
  }
}

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_TILE_OPERANDS_H_
