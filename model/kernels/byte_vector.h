#ifndef DIME_MODEL_KERNELS_BYTE_VECTOR_H_
#define DIME_MODEL_KERNELS_BYTE_VECTOR_H_

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "model/kernels/float_vector.h"

// Products of bytes, in vectors as wide as those of float_vector.h: with AVX-512, AVX512-VNNI is
// needed too. For the units that float_vector.h is for; all of it is static for the same reason.
namespace dime::kernels {

// Neighbours that an instruction multiplies and adds up in a lane.
static constexpr int kLaneBytes = 4;

#if defined(__AVX512F__)

using Integers = __m512i;  // kWidth of 32 bits, or as many bytes as they have

static inline Integers NoIntegers() { return _mm512_setzero_si512(); }
static inline Integers LoadBytes(const int8_t* from) { return _mm512_loadu_si512(from); }
static inline Integers RepeatBytes(const uint8_t* from) {  // kLaneBytes of them, in every lane
  int32_t lane;
  std::memcpy(&lane, from, sizeof(lane));
  return _mm512_set1_epi32(lane);
}
// The greatest magnitude of a signed byte with which AddProducts() is exact.
static constexpr int kGreatestSigned = 127;
// Adds to each lane the products of its unsigned and signed bytes.
static inline Integers AddProducts(Integers sums, Integers unsigned_bytes, Integers signed_bytes) {
  return _mm512_dpbusd_epi32(sums, unsigned_bytes, signed_bytes);
}
static inline Vec ToFloats(Integers x) { return _mm512_cvtepi32_ps(x); }
// kWidth values from 0 to 255 as the nearest bytes; other values as any.
static inline void StoreAsBytes(uint8_t* to, Vec values) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                   _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(values)));
}

#else  // AVX2

using Integers = __m256i;

static inline Integers NoIntegers() { return _mm256_setzero_si256(); }
static inline Integers LoadBytes(const int8_t* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}
static inline Integers RepeatBytes(const uint8_t* from) {
  int32_t lane;
  std::memcpy(&lane, from, sizeof(lane));
  return _mm256_set1_epi32(lane);
}
// Two products of 255 and this are added up in 16 bits.
static constexpr int kGreatestSigned = 64;
static inline Integers AddProducts(Integers sums, Integers unsigned_bytes, Integers signed_bytes) {
  const __m256i pairs = _mm256_maddubs_epi16(unsigned_bytes, signed_bytes);
  return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
static inline Vec ToFloats(Integers x) { return _mm256_cvtepi32_ps(x); }
static inline void StoreAsBytes(uint8_t* to, Vec values) {
  const __m256i whole = _mm256_cvtps_epi32(values);
  const __m128i words =
      _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(words, words));
}

#endif

}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_BYTE_VECTOR_H_
