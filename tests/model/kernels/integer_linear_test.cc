// Products of operands rounded to integers against sums in double precision. This unit is compiled
// three times: for AVX2, and for emulated instructions as dime_emulated_kernels is.
#include "model/kernels/integer_linear.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "model/kernels/instructions.h"
#include "tests/model/kernels/matrix.h"

namespace dime::kernels {
namespace {

template <class Operand>
class IntegerLinearTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!IsSupported(Instructions::kAvx2)) GTEST_SKIP() << "this processor has no AVX2";
  }

  // x W^T of some runs of rows, into `y`.
  static void Multiply(const Matrix& x, const Matrix& weight, const std::vector<RowRun>& runs,
                       Matrix& y) {
    IntegerLinear<Operand> linear;
    linear.Allocate(weight.columns, weight.rows);
    linear.Put(weight.values.data(), weight.rows, 0);
    IntegerScratch scratch;
    scratch.Allocate(x.rows, weight.columns);
    linear.Multiply(x.values.data(), x.stride, runs.data(), static_cast<int>(runs.size()), scratch,
                    StoreTo{y.values.data(), y.stride});
  }

  // Of an output's weights.
  static double StepOf(const Matrix& weight, int output) {
    float greatest = 0;
    double magnitudes = 0;
    for (int k = 0; k < weight.columns; ++k) {
      greatest = std::max(greatest, std::abs(weight.at(output, k)));
      magnitudes += std::abs(weight.at(output, k));
    }
    return Operand::WeightStep(greatest, magnitudes, weight.columns);
  }
  // How far rounding x and W to the nearest numbers may move a sum.
  static double Bound(const Matrix& x, const Matrix& weight, int row, int output) {
    float low = x.at(row, 0), high = low;
    double mean = 0;
    for (int k = 0; k < weight.columns; ++k) {
      low = std::min(low, x.at(row, k));
      high = std::max(high, x.at(row, k));
      mean += double{x.at(row, k)} / weight.columns;
    }
    const double step = (double{high} - low) / Operand::kSteps, scale = StepOf(weight, output);
    double bound = 1e-5;
    for (int k = 0; k < weight.columns; ++k) {
      // What rounding in float32 adds to half a step is far below a hundredth of it.
      bound += 0.51 * step * (std::abs(weight.at(output, k)) + scale / 2);
      bound += 0.51 * scale * std::abs(x.at(row, k) - mean);
    }
    return bound;
  }
};
using Operands = testing::Types<Bytes, Words>;
struct OperandName {
  template <class Operand>
  static std::string GetName(int) {
    return std::is_same_v<Operand, Bytes> ? "Bytes" : "Words";
  }
};
TYPED_TEST_SUITE(IntegerLinearTest, Operands, OperandName);

double Exact(const Matrix& x, const Matrix& weight, int row, int output) {
  double sum = 0;
  for (int k = 0; k < weight.columns; ++k) sum += double{x.at(row, k)} * weight.at(output, k);
  return sum;
}

TYPED_TEST(IntegerLinearTest, MultipliesTheRowsOfRunsAndNoOthers) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(testing::Message() << shape.rows << " " << shape.in << " " << shape.out);
    const Matrix weight(shape.out, shape.in, shape.in, 1);
    const Matrix x(shape.rows, shape.in, shape.in + 3, 3);
    Matrix y(shape.rows, shape.out, shape.out + 1, 4);
    const Matrix before = y;
    const OuterThirds rows(shape.rows);
    this->Multiply(x, weight, rows.runs(), y);
    CheckProduct(y, before, rows, shape.out, [&](int r, int o) {
      EXPECT_NEAR(y.at(r, o), Exact(x, weight, r, o), this->Bound(x, weight, r, o))
          << r << " " << o;
    });
  }
}

// Whole numbers over the whole range are not rounded: every product is in its place.
TYPED_TEST(IntegerLinearTest, IsExactWhereItsNumbersAre) {
  constexpr int kSteps = TypeParam::kSteps;
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(testing::Message() << shape.rows << " " << shape.in << " " << shape.out);
    Matrix weight(shape.out, shape.in, shape.in, 1), x(shape.rows, shape.in, shape.in, 2);
    Matrix y(shape.rows, shape.out, shape.out, 4);
    for (float& value : weight.values) value = std::round(value * kGreatestSigned);
    for (float& value : x.values) value = std::round((value + 1) * (kSteps / 2)) - 100;
    for (int o = 0; o < shape.out; ++o) {
      weight.at(o, o % shape.in) = o % 2 == 0 ? kGreatestSigned : -kGreatestSigned;
    }
    for (int r = 0; r < shape.rows; ++r) {
      x.at(r, r % shape.in) = -100;
      x.at(r, (r + 1) % shape.in) = kSteps - 100;
    }
    this->Multiply(x, weight, {{0, shape.rows}}, y);
    for (int r = 0; r < shape.rows; ++r) {
      for (int o = 0; o < shape.out; ++o) {
        const double exact = Exact(x, weight, r, o);
        if (std::is_same_v<TypeParam, Bytes>) {
          // Sums that float32 holds, up to the rounding of the scale itself.
          ASSERT_EQ(std::round(y.at(r, o)), exact) << r << " " << o;
        }
        // Words round weights, but not to steps that divide these.
        const double bound = std::is_same_v<TypeParam, Bytes>
                                 ? 1e-6 * shape.in * kSteps * kGreatestSigned
                                 : this->Bound(x, weight, r, o);
        ASSERT_NEAR(y.at(r, o), exact, bound) << r << " " << o;
      }
    }
  }
}

TYPED_TEST(IntegerLinearTest, OutputsMayBePutInPieces) {
  Matrix weight(150, 21, 21, 1);
  const Matrix x(9, 21, 21, 3);
  for (int k = 0; k < 21; ++k) weight.at(40, k) = 0;
  IntegerLinear<TypeParam> whole, pieces;
  whole.Allocate(21, 150);
  whole.Put(weight.values.data(), 150, 0);
  pieces.Allocate(21, 150);
  for (const auto& [first, end] : {std::pair{0, 37}, {37, 90}, {90, 150}}) {
    pieces.Put(&weight.at(first, 0), end - first, first);
  }
  IntegerScratch scratch;
  scratch.Allocate(9, 21);
  const RowRun all = {0, 9};
  Matrix y(9, 150, 150, 4), z(9, 150, 150, 5);
  whole.Multiply(x.values.data(), 21, &all, 1, scratch, StoreTo{y.values.data(), 150});
  pieces.Multiply(x.values.data(), 21, &all, 1, scratch, StoreTo{z.values.data(), 150});
  EXPECT_EQ(y.values, z.values);
  for (int r = 0; r < 9; ++r) EXPECT_EQ(y.at(r, 40), 0);
}

// All weights as great as one another and all inputs at an end of their range: as far as sums go.
TYPED_TEST(IntegerLinearTest, TheLargestProductsAddUp) {
  for (const int in : {64, 513, 5000}) {
    Matrix weight(8, in, in, 1), x(7, in, in, 2), y(7, 8, 8, 3);
    for (float& value : x.values) value = 255;
    for (int r = 0; r < 7; ++r) {
      for (int k = 0; k < in; ++k) x.at(r, k) = r % 2 == 0 ? 255 : 0;
      x.at(r, r) = r % 2 == 0 ? 0 : 255;
    }
    for (int o = 0; o < 8; ++o) {
      for (int k = 0; k < in; ++k) weight.at(o, k) = o % 2 == 0 ? 1.5f : -1.5f;
    }
    this->Multiply(x, weight, {{0, 7}}, y);
    for (int r = 0; r < 7; ++r) {
      for (int o = 0; o < 8; ++o) {
        EXPECT_NEAR(y.at(r, o), Exact(x, weight, r, o), in * 255 * 1e-5)
            << in << " " << r << " " << o;
      }
    }
  }
}

TYPED_TEST(IntegerLinearTest, OneGreatWeightLeavesTheOthersTheirPlace) {
  Matrix weight(3, 300, 300, 1);
  const Matrix x(5, 300, 300, 2);
  Matrix y(5, 3, 3, 3);
  weight.at(1, 7) = 30;
  this->Multiply(x, weight, {{0, 5}}, y);
  for (int r = 0; r < 5; ++r) {
    for (int o = 0; o < 3; ++o) {
      EXPECT_NEAR(y.at(r, o), Exact(x, weight, r, o), this->Bound(x, weight, r, o));
    }
  }
}

TYPED_TEST(IntegerLinearTest, ARowOfOneValueIsNotRounded) {
  const Matrix weight(70, 50, 50, 1);
  Matrix x(3, 50, 50, 3), y(3, 70, 70, 4);
  const float values[] = {0, -3e-20f, 1e6f};
  for (int r = 0; r < 3; ++r) {
    for (int k = 0; k < 50; ++k) x.at(r, k) = values[r];
  }
  x.at(1, 7) = 1e-40f;  // or of next to one
  this->Multiply(x, weight, {{0, 3}}, y);
  for (int r = 0; r < 3; ++r) {
    for (int o = 0; o < 70; ++o) {
      const double exact = Exact(x, weight, r, o);
      EXPECT_NEAR(y.at(r, o), exact, 1e-6 * (1 + std::abs(values[r]) * 50)) << r << " " << o;
    }
  }
  for (int o = 0; o < 70; ++o) EXPECT_EQ(y.at(0, o), 0);
}

TYPED_TEST(IntegerLinearTest, ARowIsTheSameBitsWhateverElseIsMultiplied) {
  const Matrix weight(66, 100, 100, 1), x(37, 100, 100, 3);
  Matrix all(37, 66, 66, 4);
  this->Multiply(x, weight, {{0, 37}}, all);
  for (const int r : {0, 5, 16, 36}) {
    Matrix alone(37, 66, 66, 5);
    this->Multiply(x, weight, {{r, 1}}, alone);
    for (int o = 0; o < 66; ++o) EXPECT_EQ(alone.at(r, o), all.at(r, o)) << r << " " << o;
  }
}

TYPED_TEST(IntegerLinearTest, ARowThatIsNotFiniteBecomesNanAloneOfAll) {
  const Matrix weight(20, 33, 33, 1);
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity(), 3e38f}) {
    for (const int at : {0, 7, 32}) {
      Matrix x(5, 33, 33, 3), y(5, 20, 20, 4);
      x.at(2, at) = value;
      x.at(2, 1) = -3e38f;  // so far apart that no float holds their difference
      this->Multiply(x, weight, {{0, 5}}, y);
      for (int r = 0; r < 5; ++r) {
        for (int o = 0; o < 20; ++o) EXPECT_EQ(std::isnan(y.at(r, o)), r == 2) << r << " " << o;
      }
    }
  }
}

// The bound that its numbers are chosen by: no sum of products, however signs fall, leaves 32 bits.
TEST(WordsTest, NoSumOverflows) {
  for (const int in : {1, 2, 256, 512, 4096, 60'000}) {
    for (const float rest : {0.0f, 0.001f, 1.0f}) {  // the weights beside the greatest, 1
      const double magnitudes = 1 + double{rest} * (in - 1);
      const float step = Words::WeightStep(1, magnitudes, in);
      const int64_t sum = std::lrint(1 / step) + int64_t{in - 1} * std::lrint(rest / step);
      EXPECT_LE(std::lrint(1 / step), Words::kGreatestWeight);
      EXPECT_LE(sum * -Words::kLeast, std::numeric_limits<int32_t>::max()) << in << " " << rest;
      if (rest == 1 && in > 100) {
        EXPECT_GE(sum * -Words::kLeast, std::numeric_limits<int32_t>::max() / 10 * 8);
      }
    }
  }
}

}  // namespace
}  // namespace dime::kernels
