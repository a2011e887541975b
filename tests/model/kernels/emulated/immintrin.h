#ifndef DIME_TESTS_MODEL_KERNELS_EMULATED_IMMINTRIN_H_
#define DIME_TESTS_MODEL_KERNELS_EMULATED_IMMINTRIN_H_

#include_next <immintrin.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

// AVX-512, AVX512-VNNI, AVX512-BF16 and AMX-BF16 for processors with AVX2 alone: the intrinsics
// that model/kernels uses, by vectors that the compiler takes apart, so that the tests hold the
// kernels of all instructions against the modules wherever they run. It stands in the place of the
// compiler's own header for the units of dime_emulated_kernels, which are compiled for AVX2.
//
// Results are those of the instructions to the bit for what the kernels give them, but for three:
// denormals are not flushed where bfloat16 is multiplied, the approximate reciprocal is another
// within its bound of 2^-14, and what no integer holds becomes another one (which no sum uses).
// Other roundings and comparisons than the kernels' do not compile.
#define __AVX512F__ 1

namespace dime::emulated {

using Int32x16 = int32_t __attribute__((vector_size(64)));
using Uint32x16 = uint32_t __attribute__((vector_size(64)));
using Int8x64 = int8_t __attribute__((vector_size(64)));
using Uint8x64 = uint8_t __attribute__((vector_size(64)));
using Int8x16 = int8_t __attribute__((vector_size(16)));
using Int16x32 = int16_t __attribute__((vector_size(64)));
using Int16x16 = int16_t __attribute__((vector_size(32)));
using Uint16x16 = uint16_t __attribute__((vector_size(32)));

template <class To, class From>
static inline To Bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}
template <class Of>
static inline Of Read(const void* from) {
  Of to;
  std::memcpy(&to, from, sizeof(to));
  return to;
}
static inline __m256 Half(__m512 x, int h) {
  return h == 0 ? __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7)
                : __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
}
static inline __m512 Join(__m256 low, __m256 high) {
  return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
static inline Int32x16 Lanes(__mmask16 mask) {  // all bits or none
  const Int32x16 bit = {1,      2,      4,       8,       1 << 4,  1 << 5,  1 << 6,  1 << 7,
                        1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15};
  return ((bit & static_cast<int32_t>(mask)) != 0);
}
static inline __m512 Select(Int32x16 lanes, __m512 then, __m512 otherwise) {
  return Bits<__m512>((lanes & Bits<Int32x16>(then)) | (~lanes & Bits<Int32x16>(otherwise)));
}
static inline __mmask16 MaskOf(Int32x16 lanes) {
  __mmask16 mask = 0;
  for (int i = 0; i < 16; ++i) mask |= static_cast<__mmask16>((lanes[i] & 1) << i);
  return mask;
}

// Memory and constants.
static inline __m512 loadu_ps(const void* from) { return Read<__m512>(from); }
// These fault where memory is not aligned; here they end the test.
static inline __m512 load_ps(const void* from) {
  if (reinterpret_cast<uintptr_t>(from) % 64 != 0) std::abort();
  return loadu_ps(from);
}
static inline __m512i loadu_si512(const void* from) { return Read<__m512i>(from); }
static inline void storeu_ps(void* to, __m512 x) { std::memcpy(to, &x, sizeof(x)); }
static inline void store_ps(void* to, __m512 x) {
  if (reinterpret_cast<uintptr_t>(to) % 64 != 0) std::abort();
  storeu_ps(to, x);
}
static inline void storeu_si512(void* to, __m512i x) { std::memcpy(to, &x, sizeof(x)); }
static inline __m512 mask_loadu_ps(__m512 otherwise, __mmask16 mask, const float* from) {
  for (int i = 0; i < 16; ++i) {
    if (mask >> i & 1) otherwise[i] = from[i];
  }
  return otherwise;
}
static inline __m512 maskz_loadu_ps(__mmask16 mask, const float* from) {
  return mask_loadu_ps(__m512{}, mask, from);
}
static inline void mask_storeu_ps(float* to, __mmask16 mask, __m512 x) {
  for (int i = 0; i < 16; ++i) {
    if (mask >> i & 1) to[i] = x[i];
  }
}
static inline __m512i maskz_loadu_epi16(__mmask32 mask, const void* from) {
  Int16x32 x = {};
  for (int i = 0; i < 32; ++i) {
    if (mask >> i & 1) x[i] = static_cast<const int16_t*>(from)[i];
  }
  return Bits<__m512i>(x);
}
static inline __m256i maskz_loadu_epi16_256(__mmask16 mask, const void* from) {
  Int16x16 x = {};
  for (int i = 0; i < 16; ++i) {
    if (mask >> i & 1) x[i] = static_cast<const int16_t*>(from)[i];
  }
  return Bits<__m256i>(x);
}
static inline void mask_storeu_epi16_256(void* to, __mmask16 mask, __m256i x) {
  for (int i = 0; i < 16; ++i) {
    if (mask >> i & 1) static_cast<int16_t*>(to)[i] = Bits<Int16x16>(x)[i];
  }
}
static inline __m512 set1_ps(float x) {
  return __m512{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}
static inline __m512i set1_epi32(int x) { return Bits<__m512i>(Int32x16{} + x); }
static inline __m512i setr_epi64(int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f,
                                 int64_t g, int64_t h) {
  return __m512i{a, b, c, d, e, f, g, h};
}
static inline __m512 maskz_mov_ps(__mmask16 mask, __m512 x) {
  return Select(Lanes(mask), x, __m512{});
}
static inline __m512 mask_mov_ps(__m512 otherwise, __mmask16 mask, __m512 x) {
  return Select(Lanes(mask), x, otherwise);
}

// Arithmetic.
static inline __m512 fmadd_ps(__m512 a, __m512 b, __m512 c) {
  return Join(_mm256_fmadd_ps(Half(a, 0), Half(b, 0), Half(c, 0)),
              _mm256_fmadd_ps(Half(a, 1), Half(b, 1), Half(c, 1)));
}
static inline __m512 max_ps(__m512 a, __m512 b) { return Select(a > b, a, b); }  // NaN: b
static inline __m512 min_ps(__m512 a, __m512 b) { return Select(a < b, a, b); }
static inline __m512 abs_ps(__m512 x) {
  return Bits<__m512>(Bits<Int32x16>(x) & static_cast<int32_t>(0x7fffffff));
}
template <int kHow>
static inline __m512 range_ps(__m512 a, __m512 b) {
  static_assert(kHow == 0b1011);  // the larger magnitude
  return max_ps(abs_ps(a), abs_ps(b));
}
static inline __m512 castps256_ps512(__m256 x) { return Join(x, __m256{}); }
template <int kWhich>
static inline __m512 insertf32x8(__m512 x, __m256 part) {
  static_assert(kWhich == 1);
  return Join(Half(x, 0), part);
}
static inline __m512i add_epi32(__m512i a, __m512i b) {
  return Bits<__m512i>(Bits<Uint32x16>(a) + Bits<Uint32x16>(b));
}
static inline __m512i dpbusd_epi32(__m512i sum, __m512i a, __m512i b) {
  const auto unsigned_bytes = Bits<Uint8x64>(a);
  const auto signed_bytes = Bits<Int8x64>(b);
  Int32x16 result = Bits<Int32x16>(sum);
  for (int i = 0; i < 64; ++i) result[i / 4] += unsigned_bytes[i] * signed_bytes[i];
  return Bits<__m512i>(result);
}
static inline __m512i dpwssd_epi32(__m512i sum, __m512i a, __m512i b) {
  const auto x = Bits<Int16x32>(a), y = Bits<Int16x32>(b);
  Uint32x16 result = Bits<Uint32x16>(sum);
  for (int i = 0; i < 32; ++i) result[i / 2] += static_cast<uint32_t>(x[i] * y[i]);
  return Bits<__m512i>(result);
}
static inline __m512 sqrt_ps(__m512 x) {
  return Join(_mm256_sqrt_ps(Half(x, 0)), _mm256_sqrt_ps(Half(x, 1)));
}
template <int kHow>
static inline __m512 Round(__m512 x) {
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  static_assert(kHow == kNearest);
  return Join(_mm256_round_ps(Half(x, 0), kNearest), _mm256_round_ps(Half(x, 1), kNearest));
}
static inline Int32x16 ToInt32(__m512 x) { return __builtin_convertvector(x, Int32x16); }
static inline __m512i cvtps_epi32(__m512 x) {  // to nearest even
  return Bits<__m512i>(ToInt32(Round<_MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC>(x)));
}
static inline __m512 cvtepi32_ps(__m512i x) {
  return __builtin_convertvector(Bits<Int32x16>(x), __m512);
}
static inline __m128i cvtepi32_epi8(__m512i x) {
  const auto bytes = __builtin_convertvector(Bits<Int32x16>(x), Int8x16);
  return Bits<__m128i>(bytes);
}
static inline __m256i cvtepi32_epi16(__m512i x) {
  return Bits<__m256i>(__builtin_convertvector(Bits<Int32x16>(x), Int16x16));
}
// x 2^n for whole n, as the kernels have them: n is no NaN, and x is where n is infinite.
static inline __m512 scalef_ps(__m512 x, __m512 n) {
  const __m512 bounded = max_ps(set1_ps(-290), min_ps(set1_ps(290), n));
  // In three steps, each of a power that a float holds; only the last can round.
  const Int32x16 whole = ToInt32(bounded), third = whole / 3;
  const auto power = [](Int32x16 e) { return Bits<__m512>((e + 127) << 23); };
  return x * power(third) * power(third) * power(whole - 2 * third);
}
static inline __m512 rcp14_ps(__m512 x) {
  const __m512 exact = 1.0f / x;
  return Bits<__m512>((Bits<Int32x16>(exact) + (1 << 8)) & ~((1 << 9) - 1));  // to 14 bits
}
template <int kHow>
static inline __mmask16 cmp_ps_mask(__m512 a, __m512 b) {
  static_assert(kHow == _CMP_GT_OQ || kHow == _CMP_EQ_OQ);
  return MaskOf(kHow == _CMP_GT_OQ ? a > b : a == b);
}
template <class Op>
static inline float Reduce(__m512 x, Op op) {  // in the compiler's order
  const __m256 a = op(Half(x, 1), Half(x, 0));
  const __m128 b = op(_mm256_extractf128_ps(a, 1), _mm256_castps256_ps128(a));
  const __m128 c = op(b, __builtin_shufflevector(b, b, 2, 3, 0, 1));
  const __m128 d = op(c, __builtin_shufflevector(c, c, 1, 0, 2, 3));
  return d[0];
}
static inline float reduce_add_ps(__m512 x) {
  return Reduce(x, [](auto a, auto b) { return a + b; });
}
static inline float reduce_max_ps(__m512 x) {
  return Reduce(x, [](auto a, auto b) { return a > b ? a : b; });
}

// Order.
template <int kImmediate, class Vector>
static inline Vector Shuffle128(Vector x, Vector y) {  // by quarters: two of x, two of y
  const __m512i a = Bits<__m512i>(x), b = Bits<__m512i>(y);
  constexpr int kQuarter[4] = {kImmediate & 3, kImmediate >> 2 & 3, 4 + (kImmediate >> 4 & 3),
                               4 + (kImmediate >> 6 & 3)};
  return Bits<Vector>(__builtin_shufflevector(
      a, b, 2 * kQuarter[0], 2 * kQuarter[0] + 1, 2 * kQuarter[1], 2 * kQuarter[1] + 1,
      2 * kQuarter[2], 2 * kQuarter[2] + 1, 2 * kQuarter[3], 2 * kQuarter[3] + 1));
}
static inline __m512i unpacklo_epi64(__m512i a, __m512i b) {
  return __builtin_shufflevector(a, b, 0, 8, 2, 10, 4, 12, 6, 14);
}
static inline __m512i unpackhi_epi64(__m512i a, __m512i b) {
  return __builtin_shufflevector(a, b, 1, 9, 3, 11, 5, 13, 7, 15);
}
static inline __m512i unpacklo_epi32(__m512i x, __m512i y) {
  const Int32x16 a = Bits<Int32x16>(x), b = Bits<Int32x16>(y);
  return Bits<__m512i>(
      __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29));
}
static inline __m512i unpackhi_epi32(__m512i x, __m512i y) {
  const Int32x16 a = Bits<Int32x16>(x), b = Bits<Int32x16>(y);
  return Bits<__m512i>(
      __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31));
}
static inline __m512i unpacklo_epi16(__m512i x, __m512i y) {
  const Int16x32 a = Bits<Int16x32>(x), b = Bits<Int16x32>(y);
  return Bits<__m512i>(__builtin_shufflevector(a, b, 0, 32, 1, 33, 2, 34, 3, 35, 8, 40, 9, 41, 10,
                                               42, 11, 43, 16, 48, 17, 49, 18, 50, 19, 51, 24, 56,
                                               25, 57, 26, 58, 27, 59));
}
static inline __m512i unpackhi_epi16(__m512i x, __m512i y) {
  const Int16x32 a = Bits<Int16x32>(x), b = Bits<Int16x32>(y);
  return Bits<__m512i>(__builtin_shufflevector(a, b, 4, 36, 5, 37, 6, 38, 7, 39, 12, 44, 13, 45, 14,
                                               46, 15, 47, 20, 52, 21, 53, 22, 54, 23, 55, 28, 60,
                                               29, 61, 30, 62, 31, 63));
}
static inline __m512 unpacklo_ps(__m512 a, __m512 b) {
  return Bits<__m512>(unpacklo_epi32(Bits<__m512i>(a), Bits<__m512i>(b)));
}
static inline __m512 unpackhi_ps(__m512 a, __m512 b) {
  return Bits<__m512>(unpackhi_epi32(Bits<__m512i>(a), Bits<__m512i>(b)));
}
static inline __m512d unpacklo_pd(__m512d a, __m512d b) {
  return __builtin_shufflevector(a, b, 0, 8, 2, 10, 4, 12, 6, 14);
}
static inline __m512d unpackhi_pd(__m512d a, __m512d b) {
  return __builtin_shufflevector(a, b, 1, 9, 3, 11, 5, 13, 7, 15);
}
static inline __m512i permutex2var_epi64(__m512i a, __m512i index, __m512i b) {
  __m512i to = {};
  for (int i = 0; i < 8; ++i) to[i] = (index[i] & 8) != 0 ? b[index[i] & 7] : a[index[i] & 7];
  return to;
}

// Integers and bfloat16.
static inline __m512i cvtepu16_epi32(__m256i x) {
  return Bits<__m512i>(__builtin_convertvector(Bits<Uint16x16>(x), Uint32x16));
}
static inline __m256i ToBf16(__m512 x) {  // to nearest even; denormals become 0
  const Uint32x16 bits = Bits<Uint32x16>(x);
  const Uint32x16 rounded = bits + 0x7fffu + (bits >> 16 & 1u);
  const Uint32x16 sign = bits & 0x80000000u, size = bits & 0x7fffffffu;
  const Uint32x16 is_nan = Bits<Uint32x16>(size > 0x7f800000u);
  const Uint32x16 is_denormal = Bits<Uint32x16>(size < 0x00800000u);
  const Uint32x16 kept = (is_nan & (bits | 0x400000u)) | (~is_nan & rounded);
  const Uint32x16 all = (is_denormal & sign) | (~is_denormal & kept);
  return Bits<__m256i>(__builtin_convertvector(all >> 16, Uint16x16));
}
static inline __m512i cvtne2ps_pbh(__m512 high, __m512 low) {
  const __m256i a = ToBf16(low), b = ToBf16(high);
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
}
static inline __m512 Even(__m512i pairs) { return Bits<__m512>(Bits<Uint32x16>(pairs) << 16); }
static inline __m512 Odd(__m512i pairs) {
  return Bits<__m512>(Bits<Uint32x16>(pairs) & 0xffff0000u);
}
template <class A, class B>
static inline __m512 dpbf16_ps(__m512 sum, A a, B b) {
  const __m512i x = Bits<__m512i>(a), y = Bits<__m512i>(b);
  return fmadd_ps(Even(x), Even(y), fmadd_ps(Odd(x), Odd(y), sum));
}

// AMX: eight tiles of 16 rows of 64 bytes; the kernels configure them all so.
struct Tiles {
  __m512i row[8][16];
};
static inline Tiles& ThreadTiles() {
  static thread_local Tiles tiles;
  return tiles;
}
static inline void TileLoad(int t, const void* from, ptrdiff_t stride) {
  for (int r = 0; r < 16; ++r) {
    ThreadTiles().row[t][r] = loadu_si512(static_cast<const char*>(from) + r * stride);
  }
}
static inline void TileStore(int t, void* to, ptrdiff_t stride) {
  for (int r = 0; r < 16; ++r) {
    storeu_si512(static_cast<char*>(to) + r * stride, ThreadTiles().row[t][r]);
  }
}
static inline void TileZero(int t) {
  for (__m512i& row : ThreadTiles().row[t]) row = __m512i{};
}
static inline void TileMultiply(int to, int a, int b) {
  Tiles& tiles = ThreadTiles();
  __m512 even_rows[16], odd_rows[16];
  for (int k = 0; k < 16; ++k) {
    even_rows[k] = Even(tiles.row[b][k]);
    odd_rows[k] = Odd(tiles.row[b][k]);
  }
  for (int m = 0; m < 16; ++m) {
    float left[32];  // each pair's even value, then its odd one
    for (int k = 0; k < 16; ++k) {
      const uint32_t pair = Bits<Uint32x16>(tiles.row[a][m])[k];
      left[2 * k] = Bits<float>(pair << 16);
      left[2 * k + 1] = Bits<float>(pair & 0xffff0000u);
    }
    __m512 even = {}, odd = {};
    for (int k = 0; k < 16; ++k) {
      even = fmadd_ps(set1_ps(left[2 * k]), even_rows[k], even);
      odd = fmadd_ps(set1_ps(left[2 * k + 1]), odd_rows[k], odd);
    }
    tiles.row[to][m] = Bits<__m512i>(Bits<__m512>(tiles.row[to][m]) + (even + odd));
  }
}

}  // namespace dime::emulated

#define _mm512_loadu_ps dime::emulated::loadu_ps
#define _mm512_load_ps dime::emulated::load_ps
#define _mm512_storeu_ps dime::emulated::storeu_ps
#define _mm512_store_ps dime::emulated::store_ps
#define _mm512_loadu_si512 dime::emulated::loadu_si512
#define _mm512_storeu_si512 dime::emulated::storeu_si512
#define _mm512_mask_loadu_ps dime::emulated::mask_loadu_ps
#define _mm512_maskz_loadu_ps dime::emulated::maskz_loadu_ps
#define _mm512_mask_storeu_ps dime::emulated::mask_storeu_ps
#define _mm512_maskz_loadu_epi16 dime::emulated::maskz_loadu_epi16
#define _mm256_maskz_loadu_epi16 dime::emulated::maskz_loadu_epi16_256
#define _mm256_mask_storeu_epi16 dime::emulated::mask_storeu_epi16_256
#define _mm512_set1_ps dime::emulated::set1_ps
#define _mm512_set1_epi32 dime::emulated::set1_epi32
#undef _mm512_setr_epi64
#define _mm512_setr_epi64 dime::emulated::setr_epi64
#define _mm512_setzero_ps() (__m512{})
#define _mm512_setzero_si512() (__m512i{})
#define _mm512_maskz_mov_ps dime::emulated::maskz_mov_ps
#define _mm512_mask_mov_ps dime::emulated::mask_mov_ps
#define _mm512_add_ps(a, b) ((a) + (b))
#define _mm512_sub_ps(a, b) ((a) - (b))
#define _mm512_mul_ps(a, b) ((a) * (b))
#define _mm512_div_ps(a, b) ((a) / (b))
#define _mm512_fmadd_ps dime::emulated::fmadd_ps
#define _mm512_fmsub_ps(a, b, c) dime::emulated::fmadd_ps(a, b, -(c))
#define _mm512_fnmadd_ps(a, b, c) dime::emulated::fmadd_ps(-(a), b, c)
#define _mm512_max_ps dime::emulated::max_ps
#define _mm512_min_ps dime::emulated::min_ps
#define _mm512_abs_ps dime::emulated::abs_ps
#define _mm512_sqrt_ps dime::emulated::sqrt_ps
#undef _mm512_roundscale_ps
#define _mm512_roundscale_ps(x, how) dime::emulated::Round<how>(x)
#define _mm512_scalef_ps dime::emulated::scalef_ps
#undef _mm512_range_ps
#define _mm512_range_ps(a, b, how) dime::emulated::range_ps<how>(a, b)
#define _mm512_castps256_ps512 dime::emulated::castps256_ps512
#undef _mm512_insertf32x8
#define _mm512_insertf32x8(x, part, which) dime::emulated::insertf32x8<which>(x, part)
#define _mm512_add_epi32 dime::emulated::add_epi32
#define _mm512_dpbusd_epi32 dime::emulated::dpbusd_epi32
#define _mm512_dpwssd_epi32 dime::emulated::dpwssd_epi32
#define _mm512_cvtps_epi32 dime::emulated::cvtps_epi32
#define _mm512_cvtepi32_ps dime::emulated::cvtepi32_ps
#define _mm512_cvtepi32_epi8 dime::emulated::cvtepi32_epi8
#define _mm512_cvtepi32_epi16 dime::emulated::cvtepi32_epi16
#define _mm512_rcp14_ps dime::emulated::rcp14_ps
#undef _mm512_cmp_ps_mask
#define _mm512_cmp_ps_mask(a, b, how) dime::emulated::cmp_ps_mask<how>(a, b)
#define _mm512_reduce_add_ps dime::emulated::reduce_add_ps
#define _mm512_reduce_max_ps dime::emulated::reduce_max_ps
#undef _mm512_shuffle_f32x4
#define _mm512_shuffle_f32x4(a, b, how) dime::emulated::Shuffle128<how>(a, b)
#undef _mm512_shuffle_i32x4
#define _mm512_shuffle_i32x4(a, b, how) dime::emulated::Shuffle128<how>(a, b)
#define _mm512_unpacklo_epi16 dime::emulated::unpacklo_epi16
#define _mm512_unpackhi_epi16 dime::emulated::unpackhi_epi16
#define _mm512_unpacklo_epi32 dime::emulated::unpacklo_epi32
#define _mm512_unpackhi_epi32 dime::emulated::unpackhi_epi32
#define _mm512_unpacklo_epi64 dime::emulated::unpacklo_epi64
#define _mm512_unpackhi_epi64 dime::emulated::unpackhi_epi64
#define _mm512_unpacklo_ps dime::emulated::unpacklo_ps
#define _mm512_unpackhi_ps dime::emulated::unpackhi_ps
#define _mm512_unpacklo_pd dime::emulated::unpacklo_pd
#define _mm512_unpackhi_pd dime::emulated::unpackhi_pd
#define _mm512_permutex2var_epi64 dime::emulated::permutex2var_epi64
#define _mm512_castsi512_ps dime::emulated::Bits<__m512, __m512i>
#define _mm512_castps_si512 dime::emulated::Bits<__m512i, __m512>
#define _mm512_castps_pd dime::emulated::Bits<__m512d, __m512>
#define _mm512_castpd_ps dime::emulated::Bits<__m512, __m512d>
#undef _mm512_slli_epi32
#define _mm512_slli_epi32(x, by) \
  dime::emulated::Bits<__m512i>(dime::emulated::Bits<dime::emulated::Uint32x16>(x) << (by))
#define _mm512_cvtepu16_epi32 dime::emulated::cvtepu16_epi32
#define _mm512_cvtneps_pbh dime::emulated::ToBf16
#define _mm512_cvtne2ps_pbh dime::emulated::cvtne2ps_pbh
#define _mm512_dpbf16_ps dime::emulated::dpbf16_ps

#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#define _tile_loadconfig(config) static_cast<void>(config)
#define _tile_release() static_cast<void>(0)
#define _tile_loadd dime::emulated::TileLoad
#define _tile_stored dime::emulated::TileStore
#define _tile_zero dime::emulated::TileZero
#define _tile_dpbf16ps dime::emulated::TileMultiply

#endif  // DIME_TESTS_MODEL_KERNELS_EMULATED_IMMINTRIN_H_
