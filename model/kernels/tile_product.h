#ifndef DIME_MODEL_KERNELS_TILE_PRODUCT_H_
#define DIME_MODEL_KERNELS_TILE_PRODUCT_H_

#include <immintrin.h>

#include <cstddef>

#include "model/kernels/vector_math.h"

// Small matrix products in bfloat16 that add up in float32, on two sets of instructions. A left
// matrix is row-major. A right matrix lies in rows of pairs: row k2 holds (b[2 k2][n], b[2 k2 +
// 1][n]) side by side for each column n. Both sides are read in whole tiles of 16 rows by 32
// values: what stands beyond a matrix's edge must be readable, and within the inner dimension one
// side must be zero there and the other finite. For the units that vector_math.h is for; in an
// unnamed namespace, as they share no inline functions with others.
namespace dime::kernels {
namespace {

// The rows and columns of a block, and the floats of one.
constexpr int kBlock = 32;

// AMX. The calling thread must have run Begin() since another's tiles may have been configured.
struct Amx {
  static void Begin() {
    struct alignas(64) Config {
      unsigned char palette = 1, start_row = 0, reserved[14] = {};
      unsigned short bytes_a_row[16] = {};
      unsigned char rows[16] = {};
    } config;
    for (int i = 0; i < 8; ++i) {
      config.bytes_a_row[i] = 64;
      config.rows[i] = 16;
    }
    _tile_loadconfig(&config);
  }
  static void End() { _tile_release(); }

  // out (rows, 32) = a (rows, 32 x steps) times a packed panel of 32 columns; rows is 16 or 32.
  // kSplit: numbers are in two parts; a's low parts stand `width` values after its high ones, each
  // step of the panel has two tiles of high parts and two of low ones, and the product of low parts
  // is left out. Calls between(k) after each step k: vector work that the tiles' latency hides.
  template <bool kSplit, class Between>
  static inline void Block(const Bf16* a, ptrdiff_t lda, ptrdiff_t width, int rows,
                           const Bf16* panel, int steps, float* out, Between&& between) {
    constexpr int kTiles = kSplit ? 4 : 2;
    const ptrdiff_t stride = lda * 2;
    _tile_zero(0);
    _tile_zero(1);
    if (rows > 16) {
      const Bf16* const below = a + 16 * lda;
      const auto multiply = [] {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      };
      _tile_zero(2);
      _tile_zero(3);
      for (int k = 0; k < steps; ++k) {
        const Bf16* const tiles = panel + k * kTiles * 512;
        _tile_loadd(6, tiles, 64);
        _tile_loadd(7, tiles + 512, 64);
        if (kSplit) {
          _tile_loadd(4, a + width + k * 32, stride);
          _tile_loadd(5, below + width + k * 32, stride);
          multiply();
        }
        _tile_loadd(4, a + k * 32, stride);
        _tile_loadd(5, below + k * 32, stride);
        multiply();
        if (kSplit) {
          _tile_loadd(6, tiles + 1024, 64);
          _tile_loadd(7, tiles + 1536, 64);
          multiply();
        }
        between(k);
      }
      _tile_stored(2, out + 16 * kBlock, kBlock * 4);
      _tile_stored(3, out + 16 * kBlock + 16, kBlock * 4);
    } else {  // the same sums in the same order
      const auto multiply = [] {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
      };
      for (int k = 0; k < steps; ++k) {
        const Bf16* const tiles = panel + k * kTiles * 512;
        _tile_loadd(6, tiles, 64);
        _tile_loadd(7, tiles + 512, 64);
        if (kSplit) {
          _tile_loadd(4, a + width + k * 32, stride);
          multiply();
        }
        _tile_loadd(4, a + k * 32, stride);
        multiply();
        if (kSplit) {
          _tile_loadd(6, tiles + 1024, 64);
          _tile_loadd(7, tiles + 1536, 64);
          multiply();
        }
        between(k);
      }
    }
    _tile_stored(0, out, kBlock * 4);
    _tile_stored(1, out + 16, kBlock * 4);
  }

  // to (32, 32) += a (32, 32 x steps) times a packed panel of 32 columns; `to` has rows of ldo.
  static inline void AddBlock(const Bf16* a, ptrdiff_t lda, const Bf16* panel, int steps, float* to,
                              ptrdiff_t ldo) {
    const ptrdiff_t stride = lda * 2, stride_o = ldo * 4;
    const Bf16* const a_below = a + 16 * lda;
    float* const to_below = to + 16 * ldo;
    _tile_loadd(0, to, stride_o);
    _tile_loadd(1, to + 16, stride_o);
    _tile_loadd(2, to_below, stride_o);
    _tile_loadd(3, to_below + 16, stride_o);
    for (int k = 0; k < steps; ++k) {
      _tile_loadd(4, a + k * 32, stride);
      _tile_loadd(5, a_below + k * 32, stride);
      _tile_loadd(6, panel + k * 1024, 64);
      _tile_loadd(7, panel + k * 1024 + 512, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, to, stride_o);
    _tile_stored(1, to + 16, stride_o);
    _tile_stored(2, to_below, stride_o);
    _tile_stored(3, to_below + 16, stride_o);
  }

  // out (rows, 16 x columns) = a (rows, 32 x steps) times b, whose rows of pairs are ldb values
  // apart; rows is 1 to 16, columns 1 to 4. Rows of a block beyond `rows` may be written, here and
  // below.
  static inline void Strip(const Bf16* a, ptrdiff_t lda, int, const Bf16* b, ptrdiff_t ldb,
                           int columns, int steps, float* out, ptrdiff_t ldo) {
    const ptrdiff_t stride = lda * 2, stride_b = ldb * 2;
    _tile_zero(0);
    if (columns > 1) _tile_zero(1);
    if (columns > 2) _tile_zero(2);
    if (columns > 3) _tile_zero(3);
    for (int k = 0; k < steps; ++k) {
      const Bf16* row = b + k * 16 * ldb;
      _tile_loadd(4, a + k * 32, stride);
      _tile_loadd(5, row, stride_b);
      _tile_dpbf16ps(0, 4, 5);
      if (columns > 1) {
        _tile_loadd(6, row + 32, stride_b);
        _tile_dpbf16ps(1, 4, 6);
      }
      if (columns > 2) {
        _tile_loadd(7, row + 64, stride_b);
        _tile_dpbf16ps(2, 4, 7);
      }
      if (columns > 3) {
        _tile_loadd(5, row + 96, stride_b);
        _tile_dpbf16ps(3, 4, 5);
      }
    }
    _tile_stored(0, out, ldo * 4);
    if (columns > 1) _tile_stored(1, out + 16, ldo * 4);
    if (columns > 2) _tile_stored(2, out + 32, ldo * 4);
    if (columns > 3) _tile_stored(3, out + 48, ldo * 4);
  }

  // Two products of one left matrix: outs (rows, 32) each = a (rows, 32 x steps) times b and times
  // c, which lie in panels of 16 columns, `panel` values from one to the next; rows is 1 to 16.
  static inline void TwoStrips(const Bf16* a, ptrdiff_t lda, int, const Bf16* b, const Bf16* c,
                               ptrdiff_t panel, int steps, float* out_b, float* out_c) {
    const ptrdiff_t stride = lda * 2;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int k = 0; k < steps; ++k) {
      const ptrdiff_t row = k * 512;
      _tile_loadd(4, a + k * 32, stride);
      _tile_loadd(5, b + row, 64);
      _tile_dpbf16ps(0, 4, 5);
      _tile_loadd(6, b + panel + row, 64);
      _tile_dpbf16ps(1, 4, 6);
      _tile_loadd(7, c + row, 64);
      _tile_dpbf16ps(2, 4, 7);
      _tile_loadd(5, c + panel + row, 64);
      _tile_dpbf16ps(3, 4, 5);
    }
    _tile_stored(0, out_b, 32 * 4);
    _tile_stored(1, out_b + 16, 32 * 4);
    _tile_stored(2, out_c, 32 * 4);
    _tile_stored(3, out_c + 16, 32 * 4);
  }

  // out (rows, 16 x columns) = a (rows, 2 x pairs) times b, whose tiles stay in registers; columns
  // is 1 to 3, pairs 1 to 16.
  static inline void Grid(const Bf16* a, ptrdiff_t lda, int rows, const Bf16* b, ptrdiff_t ldb,
                          int columns, int, float* out, ptrdiff_t ldo) {
    const ptrdiff_t stride = lda * 2, stride_b = ldb * 2, stride_o = ldo * 4;
    _tile_loadd(5, b, stride_b);
    if (columns > 1) _tile_loadd(6, b + 32, stride_b);
    if (columns > 2) _tile_loadd(7, b + 64, stride_b);
    for (int i = 0; i * 16 < rows; ++i) {
      float* const to = out + i * 16 * ldo;
      _tile_loadd(4, a + i * 16 * lda, stride);
      _tile_zero(0);
      _tile_dpbf16ps(0, 4, 5);
      _tile_stored(0, to, stride_o);
      if (columns > 1) {
        _tile_zero(1);
        _tile_dpbf16ps(1, 4, 6);
        _tile_stored(1, to + 16, stride_o);
      }
      if (columns > 2) {
        _tile_zero(2);
        _tile_dpbf16ps(2, 4, 7);
        _tile_stored(2, to + 32, stride_o);
      }
    }
  }

  // As Strip for one column of 16 and at most 32 pairs, and beside it the product with `ones`,
  // whose rows of pairs are 32 values apart; for any rows, with the right tiles in registers. The
  // products of each 16 rows, (16, 16) each, go to place() one after the other, and then done(i) is
  // called.
  template <class Place, class Done>
  static inline void WeighedSums(const Bf16* a, ptrdiff_t lda, int rows, const Bf16* b,
                                 ptrdiff_t ldb, const Bf16* ones, int pairs, Place&& place,
                                 Done&& done) {
    const int steps = (pairs + 15) / 16;
    const ptrdiff_t stride = lda * 2, stride_b = ldb * 2;
    _tile_loadd(4, b, stride_b);
    _tile_loadd(5, ones, 64);
    if (steps > 1) {
      _tile_loadd(6, b + 16 * ldb, stride_b);
      _tile_loadd(7, ones + 16 * 32, 64);
    }
    for (int i = 0; i * 16 < rows; ++i) {
      const Bf16* const left = a + i * 16 * lda;
      _tile_zero(0);
      _tile_zero(1);
      _tile_loadd(2, left, stride);
      _tile_dpbf16ps(0, 2, 4);
      _tile_dpbf16ps(1, 2, 5);
      if (steps > 1) {
        _tile_loadd(3, left + 32, stride);
        _tile_dpbf16ps(0, 3, 6);
        _tile_dpbf16ps(1, 3, 7);
      }
      float* const out = place();
      _tile_stored(0, out, 64);
      _tile_stored(1, out + 256, 64);
      done(i);
    }
  }
};

// AVX512-BF16.
struct Avx512Bf16 {
  static void Begin() {}
  static void End() {}

  static inline __m512 Multiply(__m512 sum, const Bf16* pair, __m512i b) {
    int bits;
    __builtin_memcpy(&bits, pair, sizeof(bits));
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(bits), (__m512bh)b);
  }

  // Adds a step's products of kRows rows of a and two tiles.
  static constexpr int kRows = 8;
  static inline void Step(const Bf16* a, ptrdiff_t lda, const Bf16* tiles, __m512* left,
                          __m512* right) {
    for (int k2 = 0; k2 < 16; ++k2) {
      const __m512i b0 = _mm512_loadu_si512(tiles + k2 * 32);
      const __m512i b1 = _mm512_loadu_si512(tiles + 512 + k2 * 32);
      for (int i = 0; i < kRows; ++i) {
        left[i] = Multiply(left[i], a + i * lda + k2 * 2, b0);
        right[i] = Multiply(right[i], a + i * lda + k2 * 2, b1);
      }
    }
  }

  template <bool kSplit, class Between>
  static inline void Block(const Bf16* a, ptrdiff_t lda, ptrdiff_t width, int rows,
                           const Bf16* panel, int steps, float* out, Between&& between) {
    constexpr int kTiles = kSplit ? 4 : 2;
    for (int k = 0; k < steps; ++k) between(k);
    for (int r = 0; r < rows; r += kRows) {
      __m512 left[kRows], right[kRows];
      for (int i = 0; i < kRows; ++i) left[i] = right[i] = _mm512_setzero_ps();
      for (int k = 0; k < steps; ++k) {
        const Bf16* const high = a + r * lda + k * 32;
        const Bf16* const tiles = panel + k * kTiles * 512;
        Step(high, lda, tiles, left, right);
        if (kSplit) {
          Step(high + width, lda, tiles, left, right);
          Step(high, lda, tiles + 1024, left, right);
        }
      }
      for (int i = 0; i < kRows; ++i) {
        _mm512_storeu_ps(out + (r + i) * kBlock, left[i]);
        _mm512_storeu_ps(out + (r + i) * kBlock + 16, right[i]);
      }
    }
  }

  static inline void AddBlock(const Bf16* a, ptrdiff_t lda, const Bf16* panel, int steps, float* to,
                              ptrdiff_t ldo) {
    for (int r = 0; r < kBlock; r += kRows) {
      float* const rows = to + r * ldo;
      __m512 left[kRows], right[kRows];
      for (int i = 0; i < kRows; ++i) {
        left[i] = _mm512_loadu_ps(rows + i * ldo);
        right[i] = _mm512_loadu_ps(rows + i * ldo + 16);
      }
      for (int k = 0; k < steps; ++k)
        Step(a + r * lda + k * 32, lda, panel + k * 1024, left, right);
      for (int i = 0; i < kRows; ++i) {
        _mm512_storeu_ps(rows + i * ldo, left[i]);
        _mm512_storeu_ps(rows + i * ldo + 16, right[i]);
      }
    }
  }

  // 16 columns of a right matrix, in rows of pairs `ld` values apart, and where their product goes.
  struct Column {
    const Bf16* b;
    ptrdiff_t ld;
    float* out;
  };
  // A left matrix (rows, 2 x pairs) times some columns.
  template <int kColumns>
  static inline void Columns(const Bf16* a, ptrdiff_t lda, int rows, const Column* right, int pairs,
                             ptrdiff_t ldo) {
    for (int r = 0; r < rows; r += kRows) {
      const Bf16* const left = a + r * lda;
      __m512 sums[kRows][kColumns];
      for (int i = 0; i < kRows; ++i) {
        for (int c = 0; c < kColumns; ++c) sums[i][c] = _mm512_setzero_ps();
      }
      for (int k2 = 0; k2 < pairs; ++k2) {
        __m512i b[kColumns];
        for (int c = 0; c < kColumns; ++c) b[c] = _mm512_loadu_si512(right[c].b + k2 * right[c].ld);
        for (int i = 0; i < kRows; ++i) {
          for (int c = 0; c < kColumns; ++c) {
            sums[i][c] = Multiply(sums[i][c], left + i * lda + k2 * 2, b[c]);
          }
        }
      }
      for (int i = 0; i < kRows; ++i) {
        for (int c = 0; c < kColumns; ++c) {
          _mm512_storeu_ps(right[c].out + (r + i) * ldo, sums[i][c]);
        }
      }
    }
  }

  static inline void Strip(const Bf16* a, ptrdiff_t lda, int rows, const Bf16* b, ptrdiff_t ldb,
                           int columns, int steps, float* out, ptrdiff_t ldo) {
    Wide(a, lda, rows, b, ldb, columns, steps * 16, out, ldo);
  }

  static inline void TwoStrips(const Bf16* a, ptrdiff_t lda, int rows, const Bf16* b, const Bf16* c,
                               ptrdiff_t panel, int steps, float* out_b, float* out_c) {
    for (int i = 0; i < 2; ++i) {
      const Column right[] = {{b + i * panel, 32, out_b + i * 16},
                              {c + i * panel, 32, out_c + i * 16}};
      Columns<2>(a, lda, rows, right, steps * 16, 32);
    }
  }

  static inline void Grid(const Bf16* a, ptrdiff_t lda, int rows, const Bf16* b, ptrdiff_t ldb,
                          int columns, int pairs, float* out, ptrdiff_t ldo) {
    Wide(a, lda, rows, b, ldb, columns, pairs, out, ldo);
  }

  template <class Place, class Done>
  static inline void WeighedSums(const Bf16* a, ptrdiff_t lda, int rows, const Bf16* b,
                                 ptrdiff_t ldb, const Bf16* ones, int pairs, Place&& place,
                                 Done&& done) {
    for (int i = 0; i * 16 < rows; ++i) {
      float* const out = place();
      const Column right[] = {{b, ldb, out}, {ones, 32, out + 256}};
      Columns<2>(a + i * 16 * lda, lda, rows - i * 16 < 16 ? rows - i * 16 : 16, right, pairs, 16);
      done(i);
    }
  }

 private:
  // 1 to 4 columns side by side.
  static inline void Wide(const Bf16* a, ptrdiff_t lda, int rows, const Bf16* b, ptrdiff_t ldb,
                          int columns, int pairs, float* out, ptrdiff_t ldo) {
    const Column right[] = {{b, ldb, out}, {b + 32, ldb, out + 16}, {b + 64, ldb, out + 32}};
    if (columns == 1) return Columns<1>(a, lda, rows, right, pairs, ldo);
    if (columns == 3) return Columns<3>(a, lda, rows, right, pairs, ldo);
    Columns<2>(a, lda, rows, right, pairs, ldo);
    if (columns == 4) Wide(a, lda, rows, b + 64, ldb, 2, pairs, out + 32, ldo);
  }
};

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_TILE_PRODUCT_H_
