// Products of rounded operands against sums in double precision of the same, by emulated
// instructions: this unit is compiled as dime_emulated_kernels is.
#include "model/kernels/bf16_linear.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

#include "gtest/gtest.h"
#include "model/kernels/instructions.h"
#include "model/kernels/tile_product.h"
#include "tests/model/kernels/matrix.h"

namespace dime::kernels {
namespace {

// To the nearest bfloat16, ties to even.
float Rounded(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  bits = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000;
  std::memcpy(&value, &bits, sizeof(bits));
  return value;
}

// Whether a value is `start` and the sum of `count` products.
template <class Product>
testing::AssertionResult IsSum(float actual, double start, int count, Product&& product) {
  double sum = start, size = 1;
  for (int k = 0; k < count; ++k) {
    const double value = product(k);
    sum += value;
    size += std::abs(value);
  }
  if (std::abs(actual - sum) <= 1e-6 * size) return testing::AssertionSuccess();
  return testing::AssertionFailure() << actual << " is not " << sum;
}

template <class Isa>
class Bf16LinearTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!IsSupported(Instructions::kAvx2)) GTEST_SKIP() << "this processor has no AVX2";
  }
  static void Allocate(const Shape& shape, Bf16Scratch& scratch) {
    scratch.Allocate(shape.rows, std::max(shape.in, shape.out));
  }
};
using Isas = testing::Types<Amx, Avx512Bf16>;
struct IsaName {
  template <class Isa>
  static std::string GetName(int) {
    return InstructionsName(std::is_same_v<Isa, Amx> ? Instructions::kAmx
                                                     : Instructions::kAvx512Bf16);
  }
};
TYPED_TEST_SUITE(Bf16LinearTest, Isas, IsaName);

TYPED_TEST(Bf16LinearTest, MultipliesTheRowsOfRunsAndNoOthers) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(testing::Message() << shape.rows << " " << shape.in << " " << shape.out);
    const Matrix weight(shape.out, shape.in, shape.in, 1), bias(1, shape.out, shape.out, 2);
    const Matrix x(shape.rows, shape.in, shape.in + 3, 3);
    Matrix y(shape.rows, shape.out, shape.out + 1, 4);
    const Matrix before = y;
    Bf16Linear<TypeParam> linear;
    linear.Pack(weight.values.data(), bias.values.data(), shape.in, shape.out);
    Bf16Scratch scratch;
    this->Allocate(shape, scratch);
    const OuterThirds rows(shape.rows);
    {
      const typename Bf16Linear<TypeParam>::Session session;
      linear.Multiply(x.values.data(), x.stride, rows.runs().data(), 2, scratch,
                      AddBias{y.values.data(), y.stride, linear.bias.get()});
    }
    CheckProduct(y, before, rows, shape.out, [&](int r, int o) {
      EXPECT_TRUE(
          IsSum(y.at(r, o), bias.at(0, o), shape.in,
                [&](int i) { return double{Rounded(x.at(r, i))} * Rounded(weight.at(o, i)); }))
          << r << " " << o;
    });
  }
}

TYPED_TEST(Bf16LinearTest, MultipliesBackByTheWeights) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(testing::Message() << shape.rows << " " << shape.in << " " << shape.out);
    const Matrix weight(shape.out, shape.in, shape.in, 1), bias(1, shape.out, shape.out, 2);
    const Matrix gradient(shape.rows, shape.out, shape.out + 2, 3);
    Matrix to(shape.rows, shape.in, shape.in, 4);
    const Matrix before = to;
    Bf16Linear<TypeParam> linear;
    linear.Pack(weight.values.data(), bias.values.data(), shape.in, shape.out);
    Bf16Scratch scratch;
    this->Allocate(shape, scratch);
    {
      const typename Bf16Linear<TypeParam>::Session session;
      linear.MultiplyBack(gradient.values.data(), gradient.stride, shape.rows, scratch,
                          AddTo{to.values.data(), to.stride});
    }
    for (int r = 0; r < shape.rows; ++r) {
      for (int i = 0; i < shape.in; ++i) {
        ASSERT_TRUE(IsSum(
            to.at(r, i), before.at(r, i), shape.out,
            [&](int o) { return double{Rounded(gradient.at(r, o))} * Rounded(weight.at(o, i)); }))
            << r << " " << i;
      }
    }
  }
}

TYPED_TEST(Bf16LinearTest, AddsTheWeightsGradient) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(testing::Message() << shape.rows << " " << shape.in << " " << shape.out);
    const Matrix gradient(shape.rows, shape.out, shape.out + 2, 1);
    const Matrix x(shape.rows, shape.in, shape.in + 5, 2);
    Matrix weights(shape.out + 1, shape.in, shape.in, 3);  // and a row that is not its own
    const Matrix before = weights;
    Bf16Scratch scratch;
    this->Allocate(shape, scratch);
    {
      const typename Bf16Linear<TypeParam>::Session session;
      Bf16Linear<TypeParam>::AddProduct(gradient.values.data(), gradient.stride, shape.out,
                                        x.values.data(), x.stride, shape.in, shape.rows,
                                        weights.values.data(), scratch);
    }
    for (int o = 0; o < weights.rows; ++o) {
      for (int i = 0; i < shape.in; ++i) {
        const int count = o < shape.out ? shape.rows : 0;
        ASSERT_TRUE(
            IsSum(weights.at(o, i), before.at(o, i), count,
                  [&](int r) { return double{Rounded(gradient.at(r, o))} * Rounded(x.at(r, i)); }))
            << o << " " << i;
      }
    }
  }
}

}  // namespace
}  // namespace dime::kernels
