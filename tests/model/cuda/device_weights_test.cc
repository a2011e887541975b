#include "model/cuda/device_weights.h"

#include <cstdlib>
#include <cstring>
#include <vector>

#include "gtest/gtest.h"
#include "tests/model/cuda/random_weights.h"

namespace dime::cuda {
namespace {

// Memory alone, and the host's.
struct HostDevice {
  absl::StatusOr<DeviceBytes> Allocate(size_t bytes) {
    return static_cast<DeviceBytes>(std::aligned_alloc(256, bytes));
  }
  void Free(DeviceBytes bytes) { std::free(bytes); }
  void Upload(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }
  void Zero(void* at, size_t bytes) { std::memset(at, 0, bytes); }
  absl::Status Finish() { return absl::OkStatus(); }
};

// The products lie one behind another, and the stream is as long as they are.
void ExpectOneStream(const CellWeights& cell, size_t products) {
  ASSERT_EQ(cell.products.size(), products);
  const Words4* weights = cell.stream.weights;
  const float* bias = cell.products[0].bias;
  for (const Product& product : cell.products) {
    EXPECT_EQ(product.weights, weights);
    EXPECT_EQ(product.bias, bias);
    weights += product.tiles * product.steps * kWarp;  // 8 columns by 32 inner values each
    bias += product.tiles * 8;
  }
  int64_t streamed = 0;
  for (int part = 0; part < WeightStream::kParts; ++part) {
    streamed += int64_t{cell.stream.chunks[part]} * cell.stream.bytes[part];
  }
  const bool warps = cell.products[0].chunk == 0;  // which have no need of the stream
  EXPECT_EQ(streamed, warps ? 0 : (weights - cell.stream.weights) * int64_t{sizeof(Words4)});
}

class DeviceWeightsTest : public ::testing::TestWithParam<TileProducts> {
 protected:
  const kernels::InteractionShape shape_ = {.positions = 5,
                                            .max_context = 7,
                                            .embed_size = 40,
                                            .num_heads = 8,
                                            .feed_forward_size = 72,
                                            .router_size = 20};
  HostDevice device_;
  DeviceMemory<HostDevice> memory_{&device_};
  RandomWeights random_{shape_};
};

TEST_P(DeviceWeightsTest, ACellsProductsFollowOneAnother) {
  const auto weights = UploadDeviceWeights(random_.weights(), shape_, GetParam(), memory_);
  ASSERT_TRUE(weights.ok()) << weights.status();
  // Of 8 heads of 5 channels, each padded to 16, 4 at a time make 192 columns.
  EXPECT_EQ(weights->group_heads, 4);
  for (const DeviceWeights::Layer& layer : weights->layers) {
    ExpectOneStream(layer.guidance, 1);
    ExpectOneStream(layer.reason, 2 + 2);
    ExpectOneStream(layer.refine, 2);
  }
}

TEST_P(DeviceWeightsTest, WhatIsNotPackedIsPaddedWithZeros) {
  const kernels::InteractionWeights& from = random_.weights();
  const auto weights = UploadDeviceWeights(from, shape_, GetParam(), memory_);
  ASSERT_TRUE(weights.ok()) << weights.status();
  ASSERT_EQ(PaddedChannels(shape_), 64);
  for (int c = 0; c < 64; ++c) {
    EXPECT_EQ(weights->norm_scale[c], c < 40 ? from.norm_scale[c] : 0) << c;
    EXPECT_EQ(weights->norm_shift[c], c < 40 ? from.norm_shift[c] : 0) << c;
  }
  for (int n = 0; n < DeviceWeights::kLayers; ++n) {
    for (int j = 0; j < kCells; ++j) {
      const kernels::LinearWeights& output = from.layers[n].routers[j].output;
      const DeviceWeights::Layer& layer = weights->layers[n];
      const int width = layer.router_hidden[j].tiles * 8;
      ASSERT_GE(width, 20);
      for (int p = 0; p < output.out; ++p) {
        EXPECT_EQ(layer.router_bias[j][p], output.bias[p]);
        for (int i = 0; i < width; ++i) {
          ASSERT_EQ(layer.router_output[j][p * width + i], i < 20 ? output.weight[p * 20 + i] : 0)
              << n << ", " << j << ", " << p << ", " << i;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, DeviceWeightsTest,
                         ::testing::Values(TileProducts::kWarps, TileProducts::kWarpgroups));

}  // namespace
}  // namespace dime::cuda
