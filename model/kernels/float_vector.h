#ifndef DIME_MODEL_KERNELS_FLOAT_VECTOR_H_
#define DIME_MODEL_KERNELS_FLOAT_VECTOR_H_

#include <immintrin.h>

#include <cstdint>

// Vectors of floats as wide as the instructions that a translation unit is compiled for allow: 16
// with AVX-512, 8 with AVX2. What is written in their terms is compiled once for each. Sums,
// products and quotients are the operators of the vector type.
//
// For units that are entered only where the processor has these instructions; all of it is
// static or unnamed, so that no such code can end up in place of another unit's inline functions.
namespace dime::kernels {

#if defined(__AVX512F__)
using Vec = __m512;
using Mask = __mmask16;  // a bit a lane
#else
using Vec = __m256;
using Mask = __m256i;  // all bits of a lane or none
#endif
static constexpr int kWidth = sizeof(Vec) / sizeof(float);

namespace {
// In place of a mask where every lane counts: whole vectors are then read and written.
struct AllLanes {};
}  // namespace

static inline Vec LoadAll(const float* from);
static inline void StoreAll(float* to, Vec values);
static inline Vec Load(const float* from, AllLanes) { return LoadAll(from); }
static inline void Store(float* to, AllLanes, Vec values) { StoreAll(to, values); }
static inline Vec Keep(AllLanes, Vec x) { return x; }  // 0 in lanes that do not count
static inline Vec Select(AllLanes, Vec then, Vec) { return then; }

#if defined(__AVX512F__)

static inline Mask TailMask(int count) {  // the first `count` lanes, any count
  return count >= 16 ? 0xffff : count <= 0 ? 0 : static_cast<Mask>((1u << count) - 1);
}
static inline Vec Zero() { return _mm512_setzero_ps(); }
static inline Vec Set(float x) { return _mm512_set1_ps(x); }
static inline Vec LoadAll(const float* from) { return _mm512_loadu_ps(from); }
static inline void StoreAll(float* to, Vec values) { _mm512_storeu_ps(to, values); }
static inline Vec Load(const float* from, Mask mask) { return _mm512_maskz_loadu_ps(mask, from); }
static inline void Store(float* to, Mask mask, Vec values) {
  _mm512_mask_storeu_ps(to, mask, values);
}
static inline Vec Keep(Mask mask, Vec x) { return _mm512_maskz_mov_ps(mask, x); }
static inline Vec Select(Mask mask, Vec then, Vec otherwise) {
  return _mm512_mask_mov_ps(otherwise, mask, then);
}
static inline Vec MulAdd(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }      // ab + c
static inline Vec MulSub(Vec a, Vec b, Vec c) { return _mm512_fmsub_ps(a, b, c); }      // ab - c
static inline Vec NegMulAdd(Vec a, Vec b, Vec c) { return _mm512_fnmadd_ps(a, b, c); }  // c - ab
// NaN in `b` stays, NaN in `a` does not.
static inline Vec Maximum(Vec a, Vec b) { return _mm512_max_ps(a, b); }
static inline Vec Minimum(Vec a, Vec b) { return _mm512_min_ps(a, b); }
static inline Vec Absolute(Vec x) { return _mm512_abs_ps(x); }
static inline Vec SquareRoot(Vec x) { return _mm512_sqrt_ps(x); }
static inline Mask IsGreater(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
static inline Mask IsEqual(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
static inline Mask Both(Mask a, Mask b) { return static_cast<Mask>(a & b); }
static inline Mask Without(Mask a, Mask b) { return static_cast<Mask>(a & ~b); }  // a, not b
static inline float Sum(Vec x) { return _mm512_reduce_add_ps(x); }
static inline float Most(Vec x) { return _mm512_reduce_max_ps(x); }

static inline Vec RoundToInteger(Vec x) {
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// x 2^n for whole n, 0 and infinity beyond what a float holds.
static inline Vec TimesPowerOf2(Vec x, Vec n) { return _mm512_scalef_ps(x, n); }
// 1 / x to 1e-7, for x away from 0 and infinity.
static inline Vec Reciprocal(Vec x) {
  const Vec r = _mm512_rcp14_ps(x);
  return r * NegMulAdd(x, r, Set(2));
}

#else  // AVX2

static inline Mask TailMask(int count) {  // the first `count` lanes, any count
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline Vec Zero() { return _mm256_setzero_ps(); }
static inline Vec Set(float x) { return _mm256_set1_ps(x); }
static inline Vec LoadAll(const float* from) { return _mm256_loadu_ps(from); }
static inline void StoreAll(float* to, Vec values) { _mm256_storeu_ps(to, values); }
static inline Vec Load(const float* from, Mask mask) { return _mm256_maskload_ps(from, mask); }
static inline void Store(float* to, Mask mask, Vec values) {
  _mm256_maskstore_ps(to, mask, values);
}
static inline Vec Keep(Mask mask, Vec x) { return _mm256_and_ps(_mm256_castsi256_ps(mask), x); }
static inline Vec Select(Mask mask, Vec then, Vec otherwise) {
  return _mm256_blendv_ps(otherwise, then, _mm256_castsi256_ps(mask));
}
static inline Vec MulAdd(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }      // ab + c
static inline Vec MulSub(Vec a, Vec b, Vec c) { return _mm256_fmsub_ps(a, b, c); }      // ab - c
static inline Vec NegMulAdd(Vec a, Vec b, Vec c) { return _mm256_fnmadd_ps(a, b, c); }  // c - ab
// NaN in `b` stays, NaN in `a` does not.
static inline Vec Maximum(Vec a, Vec b) { return _mm256_max_ps(a, b); }
static inline Vec Minimum(Vec a, Vec b) { return _mm256_min_ps(a, b); }
static inline Vec Absolute(Vec x) { return _mm256_andnot_ps(Set(-0.0f), x); }
static inline Vec SquareRoot(Vec x) { return _mm256_sqrt_ps(x); }
static inline Mask IsGreater(Vec a, Vec b) {
  return _mm256_castps_si256(_mm256_cmp_ps(a, b, _CMP_GT_OQ));
}
static inline Mask IsEqual(Vec a, Vec b) {
  return _mm256_castps_si256(_mm256_cmp_ps(a, b, _CMP_EQ_OQ));
}
static inline Mask Both(Mask a, Mask b) { return _mm256_and_si256(a, b); }
static inline Mask Without(Mask a, Mask b) { return _mm256_andnot_si256(b, a); }  // a, not b
static inline float Sum(Vec x) {
  const __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)));
}
static inline float Most(Vec x) {
  const __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 quarter = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(quarter, _mm_movehdup_ps(quarter)));
}

static inline Vec RoundToInteger(Vec x) {
  return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// x 2^n for whole n, 0 from 2^-127 down, infinity beyond what a float holds.
static inline Vec TimesPowerOf2(Vec x, Vec n) {
  const Vec bounded = Minimum(Set(128), Maximum(Set(-127), n));
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(bounded), _mm256_set1_epi32(127));
  return x * _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
}
static inline Vec Reciprocal(Vec x) { return Set(1) / x; }

#endif

static inline Mask IsPositive(Vec x) { return IsGreater(x, Zero()); }

// e^x to 2e-6, for x up to 88; 0 far below.
static inline Vec Exp(Vec x) {
  const Vec t = x * Set(1.44269504f);
  const Vec n = RoundToInteger(t);
  const Vec f = t - n;          // -0.5 to 0.5
  Vec p = Set(0.00133335581f);  // 2^f
  p = MulAdd(p, f, Set(0.00961812911f));
  p = MulAdd(p, f, Set(0.0555041087f));
  p = MulAdd(p, f, Set(0.240226507f));
  p = MulAdd(p, f, Set(0.693147181f));
  p = MulAdd(p, f, Set(1));
  return TimesPowerOf2(p, n);
}
// 1 - 2 / (e^2x + 1): an absolute error of a few 1e-7. NaN of NaN, which is the minimum's second
// operand for that.
static inline Vec Tanh(Vec x) {
  const Vec bounded = Minimum(Set(20), x);
  return NegMulAdd(Set(2), Reciprocal(Exp(bounded + bounded) + Set(1)), Set(1));
}

namespace {
struct Add {
  static Vec Of(Vec a, Vec b) { return a + b; }
};
struct Max {
  static Vec Of(Vec a, Vec b) { return Maximum(a, b); }
};
struct Min {
  static Vec Of(Vec a, Vec b) { return Minimum(a, b); }
};
}  // namespace

#if defined(__AVX512F__)

// Lane i of the result is v[i]'s lanes put together.
template <class Op>
static inline Vec ReduceRows(const Vec v[kWidth]) {
  Vec half[8], quarter[4];
  for (int i = 0; i < 8; ++i) {
    half[i] = Op::Of(_mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]),
                     _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]));
  }
  for (int i = 0; i < 4; ++i) {
    const __m512d a = _mm512_castps_pd(half[2 * i]), b = _mm512_castps_pd(half[2 * i + 1]);
    quarter[i] = Op::Of(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
                        _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
  }
  const Vec low = Op::Of(_mm512_shuffle_f32x4(quarter[0], quarter[1], 0x88),
                         _mm512_shuffle_f32x4(quarter[0], quarter[1], 0xdd));
  const Vec high = Op::Of(_mm512_shuffle_f32x4(quarter[2], quarter[3], 0x88),
                          _mm512_shuffle_f32x4(quarter[2], quarter[3], 0xdd));
  return Op::Of(_mm512_shuffle_f32x4(low, high, 0x88), _mm512_shuffle_f32x4(low, high, 0xdd));
}

// 16 x 16 words of 32 bits, in place.
static inline void Transpose(__m512i r[16]) {
  __m512i t[16];
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 4; ++i) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
  for (int i = 0; i < 8; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
  }
}
// kWidth x kWidth floats, in place.
static inline void Transpose(Vec r[kWidth]) {
  __m512i words[16];
  for (int i = 0; i < 16; ++i) words[i] = _mm512_castps_si512(r[i]);
  Transpose(words);
  for (int i = 0; i < 16; ++i) r[i] = _mm512_castsi512_ps(words[i]);
}

#else  // AVX2

// Lane i of the result is v[i]'s lanes put together.
template <class Op>
static inline Vec ReduceRows(const Vec v[kWidth]) {
  Vec half[4], quarter[2];
  for (int i = 0; i < 4; ++i) {
    half[i] = Op::Of(_mm256_unpacklo_ps(v[2 * i], v[2 * i + 1]),
                     _mm256_unpackhi_ps(v[2 * i], v[2 * i + 1]));
  }
  for (int i = 0; i < 2; ++i) {
    const __m256d a = _mm256_castps_pd(half[2 * i]), b = _mm256_castps_pd(half[2 * i + 1]);
    quarter[i] = Op::Of(_mm256_castpd_ps(_mm256_unpacklo_pd(a, b)),
                        _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)));
  }
  return Op::Of(_mm256_permute2f128_ps(quarter[0], quarter[1], 0x20),
                _mm256_permute2f128_ps(quarter[0], quarter[1], 0x31));
}

// kWidth x kWidth floats, in place.
static inline void Transpose(Vec r[kWidth]) {
  Vec t[8];
  for (int i = 0; i < 4; ++i) {
    t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 2; ++i) {
    const Vec a = t[4 * i], b = t[4 * i + 2], c = t[4 * i + 1], d = t[4 * i + 3];
    r[4 * i] = _mm256_shuffle_ps(a, b, 0x44);
    r[4 * i + 1] = _mm256_shuffle_ps(a, b, 0xee);
    r[4 * i + 2] = _mm256_shuffle_ps(c, d, 0x44);
    r[4 * i + 3] = _mm256_shuffle_ps(c, d, 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    const Vec low = r[i], high = r[i + 4];
    r[i] = _mm256_permute2f128_ps(low, high, 0x20);
    r[i + 4] = _mm256_permute2f128_ps(low, high, 0x31);
  }
}

#endif

}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_FLOAT_VECTOR_H_
