#ifndef DIME_TESTS_MODEL_KERNELS_EMULATED_AVXVNNI_IMMINTRIN_H_
#define DIME_TESTS_MODEL_KERNELS_EMULATED_AVXVNNI_IMMINTRIN_H_

#include_next <immintrin.h>

#include <cstdint>
#include <cstring>

// AVX-VNNI for processors with AVX2 alone, as emulated/immintrin.h is for what goes beyond.
#define __AVXVNNI__ 1

namespace dime::emulated {

// Adds to each of a vector's lanes the products of what A and B have in it.
template <class A, class B>
static inline __m256i AddProducts256(__m256i sum, __m256i x, __m256i y) {
  constexpr int kValues = 32 / sizeof(A), kInLane = 4 / sizeof(A);
  A a[kValues];
  B b[kValues];
  uint32_t sums[8];
  std::memcpy(a, &x, sizeof(a));
  std::memcpy(b, &y, sizeof(b));
  std::memcpy(sums, &sum, sizeof(sums));
  for (int i = 0; i < kValues; ++i) sums[i / kInLane] += static_cast<uint32_t>(a[i] * b[i]);
  std::memcpy(&sum, sums, sizeof(sum));
  return sum;
}

}  // namespace dime::emulated

#define _mm256_dpbusd_avx_epi32 dime::emulated::AddProducts256<uint8_t, int8_t>
#define _mm256_dpwssd_avx_epi32 dime::emulated::AddProducts256<int16_t, int16_t>

#endif  // DIME_TESTS_MODEL_KERNELS_EMULATED_AVXVNNI_IMMINTRIN_H_
