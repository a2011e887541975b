// Compiled as integer_linear_test.cc is.
#include "model/kernels/int8_linear.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "gtest/gtest.h"
#include "model/kernels/instructions.h"
#include "tests/model/kernels/matrix.h"

namespace dime::kernels {
namespace {

// A layer's outputs and those of its exact sums.
struct Outputs {
  Matrix rounded{13, 70, 70, 4};
  Matrix exact{13, 70, 70, 5};

  double LargestDifference() const {
    double largest = 0;
    for (size_t i = 0; i < exact.values.size(); ++i) {
      largest = std::max(largest, std::abs(double{rounded.values[i]} - exact.values[i]));
    }
    return largest;
  }
};
Outputs OutputsOf(bool finely) {
  const Matrix weight(70, 50, 50, 1), bias(1, 70, 70, 2), x(13, 50, 50, 3);
  const LinearWeights weights = {
      .weight = weight.values.data(), .bias = bias.values.data(), .in = 50, .out = 70};
  Int8Linear linear;
  if (finely) {
    linear.PackFinely(weights);
  } else {
    linear.Pack(weights);
  }
  Int8Linear::Scratch scratch;
  scratch.Allocate(13, 70);
  const RowRun all = {0, 13};
  Outputs outputs;
  linear.Multiply(x.values.data(), 50, &all, 1, scratch,
                  AddBias{outputs.rounded.values.data(), 70, linear.bias.get()});
  for (int r = 0; r < 13; ++r) {
    for (int o = 0; o < 70; ++o) {
      double sum = bias.at(0, o);
      for (int k = 0; k < 50; ++k) sum += double{x.at(r, k)} * weight.at(o, k);
      outputs.exact.at(r, o) = static_cast<float>(sum);
    }
  }
  return outputs;
}

TEST(Int8LinearTest, AddsItsBiasAndRoundsAsItWasPacked) {
  if (!IsSupported(Instructions::kAvx2)) GTEST_SKIP() << "this processor has no AVX2";
  const double in_bytes = OutputsOf(/*finely=*/false).LargestDifference();
  EXPECT_LT(in_bytes, 0.1);
  EXPECT_LT(OutputsOf(/*finely=*/true).LargestDifference(), std::min(0.002, in_bytes / 10));
}

}  // namespace
}  // namespace dime::kernels
