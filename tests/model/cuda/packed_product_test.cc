#include "model/cuda/packed_product.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace dime::cuda {
namespace {

using testing::ElementsAre;

// A layer whose weights and biases all differ, and are bfloat16 as they are.
class Layer {
 public:
  Layer(int in, int out, float first) : linear_{.in = in, .out = out} {
    for (int i = 0; i < in * out; ++i) weight_.push_back(first + static_cast<float>(i % 128));
    for (int o = 0; o < out; ++o) bias_.push_back(first - static_cast<float>(o));
    linear_.weight = weight_.data();
    linear_.bias = bias_.data();
  }
  const kernels::LinearWeights& linear() const { return linear_; }
  float weight(int o, int i) const { return weight_[static_cast<size_t>(o * linear_.in + i)]; }

 private:
  std::vector<float> weight_, bias_;
  kernels::LinearWeights linear_;
};

// The weight of input k on output n, by where the matrix instructions find it.
float At(const PackedProduct& product, int n, int k) {
  const size_t lane = static_cast<size_t>(n % 8 * 4 + k % 8 / 2);
  const Words4& words =
      product.weights[(static_cast<size_t>(n / 8) * product.steps + k / 32) * kWarp + lane];
  const uint32_t of_lane[] = {words.x, words.y, words.z, words.w};
  const uint32_t word = of_lane[k % 32 / 8];
  return k % 2 == 0 ? Low(word) : High(word);
}

TEST(PackedProductTest, EachWeightIsWhereTheInstructionsFindIt) {
  const Layer layer(35, 9, 1);
  const PackedProduct product = PackLinear(layer.linear());
  EXPECT_EQ(product.tiles, 4);
  EXPECT_EQ(product.steps, 2);
  ASSERT_EQ(product.weights.size(), 4u * 2 * kWarp);
  for (int n = 0; n < 32; ++n) {
    for (int k = 0; k < 64; ++k) {
      EXPECT_EQ(At(product, n, k), n < 9 && k < 35 ? layer.weight(n, k) : 0) << n << ", " << k;
    }
    EXPECT_EQ(product.bias[static_cast<size_t>(n)], n < 9 ? 1.0f - static_cast<float>(n) : 0);
  }
}

TEST(PackedProductTest, ASplitWeightIsItsHighPartTwiceAndItsLowPart) {
  const float weight[] = {1.00390625f, 3};  // the first takes nine bits
  const float bias[] = {5};
  const PackedProduct product =
      PackSplit({.weight = weight, .bias = bias, .in = 2, .out = 1}, /*width=*/32);
  EXPECT_EQ(product.steps, 3);
  for (const int k : {0, 32}) {
    EXPECT_EQ(At(product, 0, k), 1);
    EXPECT_EQ(At(product, 0, k + 1), 3);
  }
  EXPECT_EQ(At(product, 0, 64), 0.00390625f);
  EXPECT_EQ(At(product, 0, 65), 0);
}

TEST(PackedProductTest, JoinedLayersBeginAtMultiplesOfTheWidth) {
  const Layer a(8, 3, 1), b(8, 3, 40);
  const kernels::LinearWeights* const parts[] = {&a.linear(), &b.linear()};
  const PackedProduct product = PackJoined(parts, /*width=*/32);
  EXPECT_EQ(product.tiles, 8);
  for (int n = 0; n < 3; ++n) {
    for (int k = 0; k < 8; ++k) {
      EXPECT_EQ(At(product, n, k), a.weight(n, k));
      EXPECT_EQ(At(product, 32 + n, k), b.weight(n, k));
    }
  }
  EXPECT_EQ(At(product, 3, 0), 0);
  EXPECT_THAT((std::vector<float>{product.bias[0], product.bias[32], product.bias[3]}),
              ElementsAre(1, 40, 0));
}

}  // namespace
}  // namespace dime::cuda
