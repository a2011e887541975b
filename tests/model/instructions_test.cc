#include "model/kernels/instructions.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "model/dime_model.h"
#include "model/kernels/processor.h"

namespace dime::kernels {
namespace {

TEST(InstructionsTest, EachHasANameThatTheScorerOptionTakes) {
  const std::set<std::string> options(std::begin(kScorerNames), std::end(kScorerNames));
  std::set<std::string> names;
  for (const Instructions instructions : kAllInstructions) {
    EXPECT_EQ(options.count(InstructionsName(instructions)), 1) << InstructionsName(instructions);
    names.insert(InstructionsName(instructions));
  }
  EXPECT_EQ(names.size(), std::size(kAllInstructions));
}

TEST(InstructionsTest, WhatIsPreferredAreAllOfThemAndTilesComeFirst) {
  const auto preferred = PreferredInstructions();
  const std::set<Instructions> all(std::begin(kAllInstructions), std::end(kAllInstructions));
  EXPECT_EQ(std::set<Instructions>(preferred.begin(), preferred.end()), all);
  EXPECT_EQ(preferred.front(), Instructions::kAmx);
  const auto place = [&](Instructions instructions) {
    return std::find(preferred.begin(), preferred.end(), instructions);
  };
  EXPECT_EQ(place(Instructions::kAvx512Bf16) < place(Instructions::kAvx512), DoublesBf16());
  EXPECT_LT(place(Instructions::kAvx512Vnni), place(Instructions::kAvx512));
  EXPECT_EQ(place(Instructions::kAvx512Bf16) < place(Instructions::kAvx512Vnni), DoublesBf16());
  EXPECT_LT(place(Instructions::kAvx512), place(Instructions::kAvx2));
  EXPECT_LT(place(Instructions::kAvx512Bf16), place(Instructions::kAvx2));
  EXPECT_LT(place(Instructions::kAvx512), place(Instructions::kAvxVnni));
  EXPECT_LT(place(Instructions::kAvxVnni), place(Instructions::kAvx2));
  EXPECT_LT(place(Instructions::kAvx2), place(Instructions::kAvx2Int8));
}

TEST(InstructionsTest, TheFastestInBfloat16IsSupportedAndRounds) {
  const auto fastest = SupportedBf16();
  ASSERT_EQ(fastest.has_value(), IsSupported(Instructions::kAvx512Bf16));
  if (!fastest.has_value()) GTEST_SKIP() << "this processor has no AVX512-BF16";
  EXPECT_EQ(OperandsOf(*fastest), Operands::kBf16);
  EXPECT_EQ(*fastest,
            IsSupported(Instructions::kAmx) ? Instructions::kAmx : Instructions::kAvx512Bf16);
}

TEST(InstructionsTest, WiderOnesBringTheNarrower) {
  if (IsSupported(Instructions::kAmx)) {
    EXPECT_TRUE(IsSupported(Instructions::kAvx512Bf16));
  }
  if (IsSupported(Instructions::kAvx512Bf16)) {
    EXPECT_TRUE(IsSupported(Instructions::kAvx512));
  }
  if (IsSupported(Instructions::kAvx512Vnni)) {
    EXPECT_TRUE(IsSupported(Instructions::kAvx512));
  }
  if (IsSupported(Instructions::kAvxVnni)) {
    EXPECT_TRUE(IsSupported(Instructions::kAvx2));
  }
  EXPECT_EQ(IsSupported(Instructions::kAvx2Int8), IsSupported(Instructions::kAvx2));
  if (IsSupported(Instructions::kAvx512)) {
    EXPECT_TRUE(IsSupported(Instructions::kAvx2));
  }
}

TEST(InstructionsTest, TheFastestInFloat32IsSupportedAndMultipliesInFloat32) {
  const auto fastest = SupportedFloat32();
  ASSERT_EQ(fastest.has_value(), IsSupported(Instructions::kAvx2));
  if (!fastest.has_value()) GTEST_SKIP() << "this processor has no AVX2";
  EXPECT_TRUE(IsSupported(*fastest));
  EXPECT_EQ(OperandsOf(*fastest), Operands::kFloat32);
  EXPECT_EQ(*fastest,
            IsSupported(Instructions::kAvx512) ? Instructions::kAvx512 : Instructions::kAvx2);
}

}  // namespace
}  // namespace dime::kernels
