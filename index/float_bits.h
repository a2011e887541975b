#ifndef DIME_INDEX_FLOAT_BITS_H_
#define DIME_INDEX_FLOAT_BITS_H_

#include <bit>
#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"

namespace dime {

// Exact widening of the 16-bit float types, given as their bits. NaN stays NaN.

inline float Bfloat16ToFloat(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// IEEE 754 binary16: 1 sign bit, 5 exponent bits (bias 15), 10 of fraction.
inline float Float16ToFloat(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1f;
  const uint32_t fraction = bits & 0x3ff;
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24, which float32 holds exactly
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
  }
  const uint32_t wide_exponent = exponent == 0x1f ? 0xff : exponent + (127 - 15);
  return std::bit_cast<float>(sign | wide_exponent << 23 | fraction << 13);
}

// The position of the first NaN or infinity, or -1. Looks at bits, so that -ffast-math in a caller
// cannot remove it, and in blocks without a branch inside, so that it runs at memory speed.
inline ptrdiff_t FindNonFinite(absl::Span<const float> values) {
  constexpr uint32_t kExponent = 0x7f800000;
  constexpr size_t kBlock = 1024;
  const auto is_finite = [](float value) {
    return (std::bit_cast<uint32_t>(value) & kExponent) != kExponent;
  };
  for (size_t first = 0; first < values.size(); first += kBlock) {
    const absl::Span<const float> block = values.subspan(first, kBlock);
    uint32_t found = 0;
    for (const float value : block) found |= is_finite(value) ? 0 : 1;
    if (found == 0) continue;
    for (size_t i = 0; i < block.size(); ++i) {
      if (!is_finite(block[i])) return static_cast<ptrdiff_t>(first + i);
    }
  }
  return -1;
}

}  // namespace dime

#endif  // DIME_INDEX_FLOAT_BITS_H_
