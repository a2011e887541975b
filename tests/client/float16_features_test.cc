#include "client/float16_features.h"

#include <cmath>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

// 1, -2.5 and 0.1, rounded.
const std::string kRounded("\x00\x3c\x00\xc1\x66\x2e", 6);

std::string Bytes(const std::vector<float>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

TEST(Float16FeaturesTest, NumbersAndBytesBecomeTheSame) {
  v1::RegionFeatures numbers, bytes;
  numbers.set_num_regions(1);
  for (const float value : {1.0f, -2.5f, 0.1f}) numbers.add_values(value);
  bytes.set_float32(Bytes({1.0f, -2.5f, 0.1f}));
  for (v1::RegionFeatures* features : {&numbers, &bytes}) {
    ASSERT_TRUE(RoundToFloat16(*features).ok());
    EXPECT_EQ(features->float16(), kRounded);
    EXPECT_EQ(features->values_size(), 0);
    EXPECT_THAT(features->float32(), IsEmpty());
    ASSERT_TRUE(RoundToFloat16(*features).ok());
    EXPECT_EQ(features->float16(), kRounded) << "once more changes nothing";
  }
  EXPECT_EQ(numbers.num_regions(), 1);
}

TEST(Float16FeaturesTest, AValueBeyondTheRangeIsNamed) {
  v1::RegionFeatures features;
  features.add_values(65504);
  features.add_values(-65521);
  const absl::Status status = RoundToFloat16(features);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("value 1 is -65521"));
  EXPECT_EQ(features.values_size(), 2);
}

TEST(Float16FeaturesTest, WhatTheServerRefusesStaysToBeRefused) {
  v1::RegionFeatures infinite, ragged, both, none;
  infinite.add_values(INFINITY);
  ASSERT_TRUE(RoundToFloat16(infinite).ok());
  EXPECT_EQ(infinite.float16(), std::string("\x00\x7c", 2));
  ragged.set_float32("12345");
  ASSERT_TRUE(RoundToFloat16(ragged).ok());
  EXPECT_EQ(ragged.float32(), "12345");
  both.set_float32(Bytes({1}));
  both.add_values(1);
  ASSERT_TRUE(RoundToFloat16(both).ok());
  EXPECT_EQ(both.values_size(), 1);
  EXPECT_THAT(both.float16(), IsEmpty());
  ASSERT_TRUE(RoundToFloat16(none).ok());
  EXPECT_THAT(none.float16(), IsEmpty());
}

}  // namespace
}  // namespace dime
