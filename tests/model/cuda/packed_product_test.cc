#include "model/cuda/packed_product.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <tuple>
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
  const PackedProduct product = PackLinear(layer.linear(), WeightLayout::kWarps);
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

// The same for warpgroups: by chunk, step of 32 inner values, and block of 8 by 8.
float AtForWarpgroups(const PackedProduct& product, int n, int k) {
  const int chunk = n / product.chunk * product.steps + k / 32;
  const int block = (n % product.chunk / 8) * 4 + k % 32 / 8;
  const Words4& words =
      product.weights[static_cast<size_t>((chunk * product.chunk * 4 + block * 8 + n % 8))];
  const uint32_t of_row[] = {words.x, words.y, words.z, words.w};
  const uint32_t word = of_row[k % 8 / 2];
  return k % 2 == 0 ? Low(word) : High(word);
}

TEST(PackedProductTest, ForWarpgroupsWeightsLieInChunksOfAsManyColumnsAsDivideThem) {
  for (const auto& [out, columns, chunk] : {std::tuple{9, 64, 64}, std::tuple{200, 256, 128},
                                            std::tuple{192, 192, 192}, std::tuple{300, 320, 64}}) {
    const Layer layer(35, out, 1);
    const PackedProduct product = PackLinear(layer.linear(), WeightLayout::kWarpgroups);
    EXPECT_EQ(product.tiles * 8, columns);
    EXPECT_EQ(product.chunk, chunk);
    ASSERT_EQ(product.weights.size(), static_cast<size_t>(columns * 64 / 8));
    for (int n = 0; n < columns; ++n) {
      for (int k = 0; k < 64; ++k) {
        ASSERT_EQ(AtForWarpgroups(product, n, k), n < out && k < 35 ? layer.weight(n, k) : 0)
            << n << ", " << k;
      }
      EXPECT_EQ(product.bias[static_cast<size_t>(n)], n < out ? 1.0f - static_cast<float>(n) : 0);
    }
  }
}

TEST(PackedProductTest, HeadsHaveQueryKeyAndValueSideBySide) {
  constexpr int kHeads = 3, kSize = 5, kWidth = 16;
  const Layer query(15, 15, 1), key(15, 15, 2), value(15, 15, 3);
  const std::vector<PackedProduct> groups =
      PackHeads({.query = query.linear(), .key = key.linear(), .value = value.linear()}, kHeads,
                /*heads=*/2, WeightLayout::kWarps);
  ASSERT_EQ(groups.size(), 2u);
  for (int head = 0; head < 4; ++head) {
    const PackedProduct& group = groups[static_cast<size_t>(head / 2)];
    int part = head % 2 * 3;
    for (const Layer* const layer : {&query, &key, &value}) {
      for (int i = 0; i < kWidth; ++i) {
        const int n = part * kWidth + i;
        const bool there = head < kHeads && i < kSize;
        for (int k = 0; k < 15; ++k) {
          EXPECT_EQ(At(group, n, k), there ? layer->weight(head * kSize + i, k) : 0);
        }
        EXPECT_EQ(group.bias[static_cast<size_t>(n)],
                  there ? layer->linear().bias[head * kSize + i] : 0);
      }
      ++part;
    }
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
