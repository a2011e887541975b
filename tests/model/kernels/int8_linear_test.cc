// Products of operands rounded to bytes against sums in double precision. This unit is compiled
// twice: for AVX2, and for emulated instructions as dime_emulated_kernels is.
#include "model/kernels/int8_linear.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "model/kernels/instructions.h"
#include "tests/model/kernels/matrix.h"

namespace dime::kernels {
namespace {

class Int8LinearTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!IsSupported(Instructions::kAvx2)) GTEST_SKIP() << "this processor has no AVX2";
  }

  // x W^T + b of some runs of rows, into `y`.
  static void Multiply(const Matrix& x, const Matrix& weight, const Matrix& bias,
                       const std::vector<RowRun>& runs, Matrix& y) {
    Int8Linear linear;
    linear.Pack({.weight = weight.values.data(),
                 .bias = bias.values.data(),
                 .in = weight.columns,
                 .out = weight.rows});
    Int8Scratch scratch;
    scratch.Allocate(x.rows, std::max(weight.columns, weight.rows));
    linear.Multiply(x.values.data(), x.stride, runs.data(), static_cast<int>(runs.size()), scratch,
                    AddBias{y.values.data(), y.stride, linear.bias.get()});
  }
};

double Exact(const Matrix& x, const Matrix& weight, const Matrix& bias, int row, int output) {
  double sum = bias.at(0, output);
  for (int k = 0; k < weight.columns; ++k) sum += double{x.at(row, k)} * weight.at(output, k);
  return sum;
}

// How far rounding x and W to the nearest byte may move a sum.
double Bound(const Matrix& x, const Matrix& weight, int row, int output) {
  float low = x.at(row, 0), high = low, greatest = 0;
  double mean = 0;
  for (int k = 0; k < weight.columns; ++k) {
    low = std::min(low, x.at(row, k));
    high = std::max(high, x.at(row, k));
    greatest = std::max(greatest, std::abs(weight.at(output, k)));
    mean += double{x.at(row, k)} / weight.columns;
  }
  const double step = (double{high} - low) / 255, scale = double{greatest} / kGreatestSigned;
  double bound = 1e-5;
  for (int k = 0; k < weight.columns; ++k) {
    bound += step / 2 * (std::abs(weight.at(output, k)) + scale / 2);
    bound += std::abs(x.at(row, k) - mean) * scale / 2;
  }
  return bound;
}

TEST_F(Int8LinearTest, MultipliesTheRowsOfRunsAndNoOthers) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(testing::Message() << shape.rows << " " << shape.in << " " << shape.out);
    const Matrix weight(shape.out, shape.in, shape.in, 1), bias(1, shape.out, shape.out, 2);
    const Matrix x(shape.rows, shape.in, shape.in + 3, 3);
    Matrix y(shape.rows, shape.out, shape.out + 1, 4);
    const Matrix before = y;
    const OuterThirds rows(shape.rows);
    Multiply(x, weight, bias, rows.runs(), y);
    CheckProduct(y, before, rows, shape.out, [&](int r, int o) {
      EXPECT_NEAR(y.at(r, o), Exact(x, weight, bias, r, o), Bound(x, weight, r, o))
          << r << " " << o;
    });
  }
}

// Whole numbers over the whole range of a byte are not rounded: every product is in its place.
TEST_F(Int8LinearTest, IsExactWhereBytesAre) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(testing::Message() << shape.rows << " " << shape.in << " " << shape.out);
    Matrix weight(shape.out, shape.in, shape.in, 1), x(shape.rows, shape.in, shape.in, 2);
    Matrix bias(1, shape.out, shape.out, 3), y(shape.rows, shape.out, shape.out, 4);
    for (float& value : weight.values) value = std::round(value * kGreatestSigned);
    for (float& value : bias.values) value = std::round(value * 127);
    for (float& value : x.values) value = std::round((value + 1) * 127) - 100;
    for (int o = 0; o < shape.out; ++o) {
      weight.at(o, o % shape.in) = o % 2 == 0 ? kGreatestSigned : -kGreatestSigned;
    }
    for (int r = 0; r < shape.rows; ++r) {
      x.at(r, r % shape.in) = -100;
      x.at(r, (r + 1) % shape.in) = 155;
    }
    Multiply(x, weight, bias, {{0, shape.rows}}, y);
    for (int r = 0; r < shape.rows; ++r) {
      for (int o = 0; o < shape.out; ++o) {
        // Sums that float32 holds, up to the rounding of the scale itself.
        const double exact = Exact(x, weight, bias, r, o);
        ASSERT_NEAR(y.at(r, o), exact, 1e-6 * shape.in * 255 * 127) << r << " " << o;
        ASSERT_EQ(std::round(y.at(r, o)), exact) << r << " " << o;
      }
    }
  }
}

TEST_F(Int8LinearTest, OutputsMayBePutInPieces) {
  Matrix weight(150, 21, 21, 1);
  const Matrix bias(1, 150, 150, 2), x(9, 21, 21, 3);
  for (int k = 0; k < 21; ++k) weight.at(40, k) = 0;
  Int8Linear whole, pieces;
  whole.Allocate(21, 150);
  whole.Put(weight.values.data(), bias.values.data(), 150, 0);
  pieces.Allocate(21, 150);
  for (const auto& [first, end] : {std::pair{0, 37}, {37, 90}, {90, 150}}) {
    pieces.Put(&weight.at(first, 0), bias.values.data() + first, end - first, first);
  }
  Int8Scratch scratch;
  scratch.Allocate(9, 150);
  const RowRun all = {0, 9};
  Matrix y(9, 150, 150, 4), z(9, 150, 150, 5);
  whole.Multiply(x.values.data(), 21, &all, 1, scratch,
                 AddBias{y.values.data(), 150, whole.bias.get()});
  pieces.Multiply(x.values.data(), 21, &all, 1, scratch,
                  AddBias{z.values.data(), 150, pieces.bias.get()});
  EXPECT_EQ(y.values, z.values);
  for (int r = 0; r < 9; ++r) EXPECT_EQ(y.at(r, 40), bias.at(0, 40));
}

TEST_F(Int8LinearTest, ALayerPackedExactlyIsNotRounded) {
  const Matrix weight(70, 50, 50, 1), bias(1, 70, 70, 2), x(13, 50, 50, 3);
  Int8Linear linear;
  linear.PackExactly(
      {.weight = weight.values.data(), .bias = bias.values.data(), .in = 50, .out = 70});
  Int8Scratch scratch;
  scratch.Allocate(13, 70);
  const RowRun all = {0, 13};
  Matrix y(13, 70, 70, 4);
  linear.Multiply(x.values.data(), 50, &all, 1, scratch,
                  AddBias{y.values.data(), 70, linear.bias.get()});
  for (int r = 0; r < 13; ++r) {
    for (int o = 0; o < 70; ++o) EXPECT_NEAR(y.at(r, o), Exact(x, weight, bias, r, o), 1e-5);
  }
}

TEST_F(Int8LinearTest, TheLargestProductsAddUp) {
  Matrix weight(8, 64, 64, 1), x(7, 64, 64, 2), y(7, 8, 8, 3);
  const Matrix bias(1, 8, 8, 4);
  for (float& value : x.values) value = 255;
  for (int r = 0; r < 7; ++r) x.at(r, r) = 0;
  for (int o = 0; o < 8; ++o) {
    for (int k = 0; k < 64; ++k) weight.at(o, k) = o % 2 == 0 ? kGreatestSigned : -kGreatestSigned;
  }
  Multiply(x, weight, bias, {{0, 7}}, y);
  for (int r = 0; r < 7; ++r) {
    for (int o = 0; o < 8; ++o) EXPECT_NEAR(y.at(r, o), Exact(x, weight, bias, r, o), 1);
  }
}

TEST_F(Int8LinearTest, ARowOfOneValueIsNotRounded) {
  const Matrix weight(70, 50, 50, 1), bias(1, 70, 70, 2);
  Matrix x(3, 50, 50, 3), y(3, 70, 70, 4);
  const float values[] = {0, -3e-20f, 1e6f};
  for (int r = 0; r < 3; ++r) {
    for (int k = 0; k < 50; ++k) x.at(r, k) = values[r];
  }
  x.at(1, 7) = 1e-40f;  // or of next to one
  Multiply(x, weight, bias, {{0, 3}}, y);
  for (int r = 0; r < 3; ++r) {
    for (int o = 0; o < 70; ++o) {
      const double exact = Exact(x, weight, bias, r, o);
      EXPECT_NEAR(y.at(r, o), exact, 1e-6 * (1 + std::abs(values[r]) * 50)) << r << " " << o;
    }
  }
  for (int o = 0; o < 70; ++o) EXPECT_EQ(y.at(0, o), bias.at(0, o));
}

TEST_F(Int8LinearTest, ARowIsTheSameBitsWhateverElseIsMultiplied) {
  const Matrix weight(66, 100, 100, 1), bias(1, 66, 66, 2), x(37, 100, 100, 3);
  Matrix all(37, 66, 66, 4);
  Multiply(x, weight, bias, {{0, 37}}, all);
  for (const int r : {0, 5, 16, 36}) {
    Matrix alone(37, 66, 66, 5);
    Multiply(x, weight, bias, {{r, 1}}, alone);
    for (int o = 0; o < 66; ++o) EXPECT_EQ(alone.at(r, o), all.at(r, o)) << r << " " << o;
  }
}

TEST_F(Int8LinearTest, ARowThatIsNotFiniteBecomesNanAloneOfAll) {
  const Matrix weight(20, 33, 33, 1), bias(1, 20, 20, 2);
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity(), 3e38f}) {
    for (const int at : {0, 7, 32}) {
      Matrix x(5, 33, 33, 3), y(5, 20, 20, 4);
      x.at(2, at) = value;
      x.at(2, 1) = -3e38f;  // so far apart that no float holds their difference
      Multiply(x, weight, bias, {{0, 5}}, y);
      for (int r = 0; r < 5; ++r) {
        for (int o = 0; o < 20; ++o) EXPECT_EQ(std::isnan(y.at(r, o)), r == 2) << r << " " << o;
      }
    }
  }
}

}  // namespace
}  // namespace dime::kernels
