#ifndef DIME_MODEL_KERNELS_VECTOR_MATH_H_
#define DIME_MODEL_KERNELS_VECTOR_MATH_H_

#include <immintrin.h>

#include <cstdint>

// Vectors of 16 floats and what the kernels do with them. For translation units compiled for
// AVX-512 with bfloat16 only; all of it is static, so that no such code can end up in place of
// another unit's inline functions.
namespace dime::kernels {

using Bf16 = uint16_t;  // the upper half of a float's bits

static inline __mmask16 TailMask16(int count) {  // the first `count` of 16, any count
  return count >= 16 ? 0xffff : count <= 0 ? 0 : static_cast<__mmask16>((1u << count) - 1);
}
static inline __mmask32 TailMask32(int count) {
  return count >= 32 ? 0xffffffffu : count <= 0 ? 0 : (1u << count) - 1;
}

static inline __m512 Widen(__m256i bits) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
static inline __m512 LoadBf16(const Bf16* from) {  // 16
  return Widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
static inline __m256i Narrow(__m512 values) { return (__m256i)_mm512_cvtneps_pbh(values); }
static inline void StoreBf16(Bf16* to, __m512 values) {  // 16
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), Narrow(values));
}
static inline void StoreBf16Pair(Bf16* to, __m512 first, __m512 second) {  // 32
  _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(second, first));
}

// e^x to 2e-6, for x up to 88; 0 far below.
static inline __m512 Exp(__m512 x) {
  const __m512 t = _mm512_mul_ps(x, _mm512_set1_ps(1.44269504f));
  const __m512 n = _mm512_roundscale_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 f = _mm512_sub_ps(t, n);       // -0.5 to 0.5
  __m512 p = _mm512_set1_ps(0.00133335581f);  // 2^f
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.00961812911f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.0555041087f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.240226507f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.693147181f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, n);
}
// 1 / x to 1e-7, for x away from 0 and infinity.
static inline __m512 Reciprocal(__m512 x) {
  const __m512 r = _mm512_rcp14_ps(x);
  return _mm512_mul_ps(r, _mm512_fnmadd_ps(x, r, _mm512_set1_ps(2.0f)));
}
// 1 - 2 / (e^2x + 1): an absolute error of a few 1e-7. NaN of NaN, which is the minimum's second
// operand for that.
static inline __m512 Tanh(__m512 x) {
  const __m512 one = _mm512_set1_ps(1.0f);
  const __m512 bounded = _mm512_min_ps(_mm512_set1_ps(20.0f), x);
  const __m512 d = _mm512_add_ps(Exp(_mm512_add_ps(bounded, bounded)), one);
  return _mm512_fnmadd_ps(_mm512_set1_ps(2.0f), Reciprocal(d), one);
}

// 2^t to 7.5e-5, an eighth of what is lost when the result becomes bfloat16; for t up to 127, 0 far
// below -126.
static inline __m512 Exp2Coarse(__m512 t) {
  const __m512 n = _mm512_roundscale_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 f = _mm512_sub_ps(t, n);
  __m512 p = _mm512_set1_ps(0.05517167f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.24261112f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.69326099f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.99992807f));
  return _mm512_scalef_ps(p, n);
}
// tanh(t / (2 log2 e)) to 2e-4.
static inline __m512 TanhCoarse(__m512 t) {
  const __m512 d =
      _mm512_add_ps(Exp2Coarse(_mm512_min_ps(t, _mm512_set1_ps(60.0f))), _mm512_set1_ps(1.0f));
  return _mm512_fnmadd_ps(_mm512_set1_ps(2.0f), _mm512_rcp14_ps(d), _mm512_set1_ps(1.0f));
}

struct Add {
  static __m512 Of(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }
};
struct Max {
  static __m512 Of(__m512 a, __m512 b) { return _mm512_max_ps(a, b); }
};

// Lane i of the result is v[i]'s lanes put together.
template <class Op>
static inline __m512 ReduceRows(const __m512 v[16]) {
  __m512 half[8], quarter[4];
  for (int i = 0; i < 8; ++i) {
    half[i] = Op::Of(_mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]),
                     _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]));
  }
  for (int i = 0; i < 4; ++i) {
    const __m512d a = _mm512_castps_pd(half[2 * i]), b = _mm512_castps_pd(half[2 * i + 1]);
    quarter[i] = Op::Of(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
                        _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
  }
  const __m512 low = Op::Of(_mm512_shuffle_f32x4(quarter[0], quarter[1], 0x88),
                            _mm512_shuffle_f32x4(quarter[0], quarter[1], 0xdd));
  const __m512 high = Op::Of(_mm512_shuffle_f32x4(quarter[2], quarter[3], 0x88),
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

// Rows a and b of 32 bfloat16 values as 32 pairs (a[i], b[i]).
static inline void Interleave(__m512i a, __m512i b, __m512i* first, __m512i* second) {
  const __m512i low = _mm512_unpacklo_epi16(a, b), high = _mm512_unpackhi_epi16(a, b);
  const __m512i index = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
  const __m512i index2 = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
  *first = _mm512_permutex2var_epi64(low, index, high);
  *second = _mm512_permutex2var_epi64(low, index2, high);
}

}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_VECTOR_MATH_H_
