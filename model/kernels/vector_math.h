#ifndef DIME_MODEL_KERNELS_VECTOR_MATH_H_
#define DIME_MODEL_KERNELS_VECTOR_MATH_H_

#include <immintrin.h>

#include <cstdint>

#include "model/kernels/float_vector.h"

// Vectors of bfloat16 and what the kernels do with them, beside those of floats. For translation
// units compiled for AVX-512 with bfloat16 only; static as float_vector.h is.
namespace dime::kernels {

using Bf16 = uint16_t;  // the upper half of a float's bits
static constexpr Bf16 kOne = 0x3f80;

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
static inline void StorePair(Bf16* to, __m512 first, __m512 second) {  // 32
  _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(second, first));
}
static inline void StorePair(float* to, __m512 first, __m512 second) {
  _mm512_storeu_ps(to, first);
  _mm512_storeu_ps(to + 16, second);
}

// 2^f to 7.5e-5, an eighth of what is lost when the result becomes bfloat16; for f from -0.5 to
// 0.5.
static inline __m512 Exp2OfFraction(__m512 f) {
  __m512 p = _mm512_set1_ps(0.05517167f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.24261112f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.69326099f));
  return _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.99992807f));
}
// 2^t to the same; for t up to 127, 0 far below -126.
static inline __m512 Exp2Coarse(__m512 t) {
  const __m512 n = _mm512_roundscale_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  return _mm512_scalef_ps(Exp2OfFraction(_mm512_sub_ps(t, n)), n);
}
// 2^(x factor) to the same with fewer instructions, where the logarithm's magnitude is below 126;
// beyond, it is nonsense. `most` is raised to the logarithms' magnitudes, rounded.
static inline __m512 Exp2Small(__m512 x, __m512 factor, __m512& most) {
  // Floats of this size have no fraction: adding it rounds to a whole number, whose last bits then
  // stand in the sum's.
  const __m512 magic = _mm512_set1_ps(12582912.0f);  // 1.5 * 2^23
  const __m512 sum = _mm512_fmadd_ps(x, factor, magic);
  const __m512 n = _mm512_sub_ps(sum, magic);
  most = _mm512_range_ps(most, n, 0b1011);  // the larger magnitude
  const __m512 p = Exp2OfFraction(_mm512_fmsub_ps(x, factor, n));
  return _mm512_castsi512_ps(
      _mm512_add_epi32(_mm512_castps_si512(p), _mm512_slli_epi32(_mm512_castps_si512(sum), 23)));
}
// tanh(t / (2 log2 e)) to 2e-4.
static inline __m512 TanhCoarse(__m512 t) {
  const __m512 d =
      _mm512_add_ps(Exp2Coarse(_mm512_min_ps(t, _mm512_set1_ps(60.0f))), _mm512_set1_ps(1.0f));
  return _mm512_fnmadd_ps(_mm512_set1_ps(2.0f), _mm512_rcp14_ps(d), _mm512_set1_ps(1.0f));
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
