#ifndef DIME_MODEL_KERNELS_INTEGER_VECTOR_H_
#define DIME_MODEL_KERNELS_INTEGER_VECTOR_H_

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "model/kernels/float_vector.h"

// Products of bytes, and of words of 16 bits, that add up in 32 bits and wrap beyond, in vectors as
// wide as those of float_vector.h: with AVX-512, AVX512-VNNI is needed too. For the units that
// float_vector.h is for; all of it is static for the same reason.
namespace dime::kernels {

// kWidth of 32 bits, or as many words or bytes as they have. Not the intrinsics' own type, which
// may alias anything: GCC 12 writes an array of those to memory after every step of a loop.
typedef int32_t Integers __attribute__((vector_size(sizeof(Vec))));

#if defined(__AVX512F__)
using IntegerBits = __m512i;
static inline IntegerBits RepeatedBits(int32_t x) { return _mm512_set1_epi32(x); }
#else
using IntegerBits = __m256i;
static inline IntegerBits RepeatedBits(int32_t x) { return _mm256_set1_epi32(x); }
#endif

static inline Integers NoIntegers() { return Integers{}; }
static inline Integers LoadIntegers(const void* from) {
  Integers values;
  std::memcpy(&values, from, sizeof(values));
  return values;
}
static inline Integers RepeatLane(const void* from) {  // 4 bytes, in every lane
  int32_t lane;
  std::memcpy(&lane, from, sizeof(lane));
  return (Integers)RepeatedBits(lane);
}

#if defined(__AVX512F__)

// The greatest magnitude of a signed byte with which AddByteProducts() is exact.
static constexpr int kGreatestSigned = 127;
// Whether products take a register before they are added up.
static constexpr bool kKeepsProducts = false;
// Adds to each lane the products of its four unsigned and signed bytes.
static inline Integers AddByteProducts(Integers sums, Integers unsigned_bytes,
                                       Integers signed_bytes) {
  return (Integers)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)unsigned_bytes,
                                       (__m512i)signed_bytes);
}
// Adds to each lane the products of its two signed words.
static inline Integers AddWordProducts(Integers sums, Integers a, Integers b) {
  return (Integers)_mm512_dpwssd_epi32((__m512i)sums, (__m512i)a, (__m512i)b);
}
static inline Vec ToFloats(Integers x) { return _mm512_cvtepi32_ps((__m512i)x); }
// kWidth values from 0 to 255 as the nearest bytes; other values as any.
static inline void StoreAsBytes(uint8_t* to, Vec values) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                   _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(values)));
}
// kWidth values of a word's range as the nearest words; other values as any.
static inline void StoreAsWords(int16_t* to, Vec values) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(values)));
}

#else  // AVX2

#if defined(__AVXVNNI__)
static constexpr int kGreatestSigned = 127;
static constexpr bool kKeepsProducts = false;
static inline Integers AddByteProducts(Integers sums, Integers unsigned_bytes,
                                       Integers signed_bytes) {
  return (Integers)_mm256_dpbusd_avx_epi32((__m256i)sums, (__m256i)unsigned_bytes,
                                           (__m256i)signed_bytes);
}
static inline Integers AddWordProducts(Integers sums, Integers a, Integers b) {
  return (Integers)_mm256_dpwssd_avx_epi32((__m256i)sums, (__m256i)a, (__m256i)b);
}
#else
// Two products of 255 and this are added up in 16 bits.
static constexpr int kGreatestSigned = 64;
static constexpr bool kKeepsProducts = true;
static inline Integers AddByteProducts(Integers sums, Integers unsigned_bytes,
                                       Integers signed_bytes) {
  const __m256i pairs = _mm256_maddubs_epi16((__m256i)unsigned_bytes, (__m256i)signed_bytes);
  return (Integers)_mm256_add_epi32((__m256i)sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
static inline Integers AddWordProducts(Integers sums, Integers a, Integers b) {
  return (Integers)_mm256_add_epi32((__m256i)sums, _mm256_madd_epi16((__m256i)a, (__m256i)b));
}
#endif
static inline Vec ToFloats(Integers x) { return _mm256_cvtepi32_ps((__m256i)x); }
static inline __m128i NearestWords(Vec values) {
  const __m256i whole = _mm256_cvtps_epi32(values);
  return _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
}
static inline void StoreAsBytes(uint8_t* to, Vec values) {
  const __m128i words = NearestWords(values);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(words, words));
}
static inline void StoreAsWords(int16_t* to, Vec values) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), NearestWords(values));
}

#endif

}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_INTEGER_VECTOR_H_
