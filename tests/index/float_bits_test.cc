#include "index/float_bits.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

namespace dime {
namespace {

// By the definition of binary16, in arithmetic instead of bits.
float Float16ByArithmetic(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const float fraction = static_cast<float>(bits & 1023) / 1024.0f;
  float magnitude;
  if (exponent == 31) {
    magnitude = fraction == 0 ? std::numeric_limits<float>::infinity()
                              : std::numeric_limits<float>::quiet_NaN();
  } else if (exponent == 0) {
    magnitude = std::ldexp(fraction, -14);
  } else {
    magnitude = std::ldexp(1 + fraction, exponent - 15);
  }
  return bits & 0x8000 ? -magnitude : magnitude;
}

TEST(FloatBitsTest, WidensEveryFloat16) {
  for (int bits = 0; bits < 65536; ++bits) {
    const float expected = Float16ByArithmetic(static_cast<uint16_t>(bits));
    const float actual = Float16ToFloat(static_cast<uint16_t>(bits));
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(actual)) << bits;
    } else {
      ASSERT_EQ(actual, expected) << bits;
      ASSERT_EQ(std::signbit(actual), std::signbit(expected)) << bits;
    }
  }
}

TEST(FloatBitsTest, RoundsToTheNearestFloat16) {
  for (uint16_t bits = 0; bits < 0x7c00; ++bits) {
    const float value = Float16ToFloat(bits);
    const uint16_t next = static_cast<uint16_t>(bits + 1);
    // The largest's next would be 65536.
    const float above = next == 0x7c00 ? 65536.0f : Float16ToFloat(next);
    const float middle = value + (above - value) / 2;  // exact
    const uint16_t even = bits % 2 == 0 ? bits : next;
    ASSERT_EQ(FloatToFloat16(value), bits);
    ASSERT_EQ(FloatToFloat16(-value), bits | 0x8000);
    ASSERT_EQ(FloatToFloat16(middle), even) << middle;
    ASSERT_EQ(FloatToFloat16(std::nextafter(middle, 0.0f)), bits) << middle;
    ASSERT_EQ(FloatToFloat16(std::nextafter(middle, 1e9f)), next) << middle;
  }
  EXPECT_EQ(FloatToFloat16(std::numeric_limits<float>::infinity()), 0x7c00);
  EXPECT_EQ(FloatToFloat16(-std::numeric_limits<float>::max()), 0xfc00);
  EXPECT_TRUE(std::isnan(Float16ToFloat(FloatToFloat16(std::nanf("")))));
  EXPECT_EQ(FloatToFloat16(std::numeric_limits<float>::denorm_min()), 0);
}

TEST(FloatBitsTest, WidensBfloat16) {
  EXPECT_EQ(Bfloat16ToFloat(0x3f80), 1.0f);
  EXPECT_EQ(Bfloat16ToFloat(0xc049), -3.140625f);
  EXPECT_TRUE(std::isinf(Bfloat16ToFloat(0x7f80)));
  EXPECT_TRUE(std::isnan(Bfloat16ToFloat(0x7fc0)));
}

TEST(FloatBitsTest, RoundsToTheNearestBfloat16) {
  EXPECT_EQ(FloatToBfloat16(-3.140625f), 0xc049);
  EXPECT_EQ(FloatToBfloat16(0x1.01p0f), 0x3f80) << "a tie goes to the even one, below";
  EXPECT_EQ(FloatToBfloat16(0x1.03p0f), 0x3f82) << "and here above";
  EXPECT_EQ(FloatToBfloat16(0x1.010002p0f), 0x3f81);
  EXPECT_EQ(FloatToBfloat16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_TRUE(std::isnan(Bfloat16ToFloat(FloatToBfloat16(std::nanf("")))));
  EXPECT_TRUE(std::isnan(Bfloat16ToFloat(FloatToBfloat16(std::bit_cast<float>(0xffffffffu)))));
}

TEST(FloatBitsTest, FindsTheFirstNonFiniteValueAnywhere) {
  std::vector<float> values(5000, std::numeric_limits<float>::max());
  EXPECT_EQ(FindNonFinite(values), -1);
  EXPECT_EQ(FindNonFinite({}), -1);
  values[4999] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(FindNonFinite(values), 4999);
  values[1024] = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(FindNonFinite(values), 1024);
}

}  // namespace
}  // namespace dime
