#include "model/kernels/instructions.h"

#include <iterator>
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "model/dime_model.h"

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

TEST(InstructionsTest, WiderOnesBringTheNarrower) {
  if (IsSupported(Instructions::kAmx)) {
    EXPECT_TRUE(IsSupported(Instructions::kAvx512Bf16));
  }
  if (IsSupported(Instructions::kAvx512Bf16)) {
    EXPECT_TRUE(IsSupported(Instructions::kAvx512));
  }
  if (IsSupported(Instructions::kAvx512)) {
    EXPECT_TRUE(IsSupported(Instructions::kAvx2));
  }
}

TEST(InstructionsTest, TheFastestInFloat32IsSupportedAndMultipliesInFloat32) {
  const auto fastest = SupportedFloat32();
  ASSERT_EQ(fastest.has_value(), IsSupported(Instructions::kAvx2));
  if (!fastest.has_value()) GTEST_SKIP() << "this processor has no AVX2";
  EXPECT_TRUE(IsSupported(*fastest));
  EXPECT_TRUE(MultiplyInFloat32(*fastest));
  EXPECT_EQ(*fastest,
            IsSupported(Instructions::kAvx512) ? Instructions::kAvx512 : Instructions::kAvx2);
}

}  // namespace
}  // namespace dime::kernels
