#include "model/dime/fast_linear.h"

#include <torch/torch.h>

#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "model/dime/mixed_precision.h"

namespace dime {
namespace {

void ExpectAsForward(torch::nn::Linear& linear, const torch::Tensor& x, double tolerance) {
  const torch::Tensor expected = linear->forward(x), actual = FastLinear(linear, x);
  ASSERT_EQ(actual.sizes(), expected.sizes());
  EXPECT_EQ(actual.scalar_type(), expected.scalar_type());
  if (x.numel() > 0) {
    EXPECT_LE((actual - expected).abs().max().item<double>(), tolerance);
  }
}

TEST(FastLinearTest, IsTheLayersProduct) {
  torch::manual_seed(1);
  const torch::NoGradGuard no_grad;
  for (const auto& [in, out] : {std::pair<int64_t, int64_t>{37, 20}, {20, 37}}) {
    torch::nn::Linear linear(in, out);
    for (const std::vector<int64_t>& shape :
         {std::vector<int64_t>{in}, {1, in}, {300, in}, {3, 24, in}, {0, in}}) {
      ExpectAsForward(linear, torch::randn(shape), 1e-5);
    }
    ExpectAsForward(linear, torch::randn({in, 50}).t(), 1e-5);  // not contiguous
  }
}

TEST(FastLinearTest, OtherTypesAndLayersWithoutBias) {
  const torch::NoGradGuard no_grad;
  torch::nn::Linear linear(8, 5);
  linear->to(torch::kFloat64);
  ExpectAsForward(linear, torch::randn({40, 8}, torch::kFloat64), 0);
  torch::nn::Linear plain(torch::nn::LinearOptions(8, 5).bias(false));
  ExpectAsForward(plain, torch::randn({40, 8}), 0);
}

TEST(FastLinearTest, GradientsAreTheLayers) {
  torch::nn::Linear linear(8, 5);
  const torch::Tensor x = torch::randn({40, 8}).requires_grad_();
  FastLinear(linear, x).sum().backward();
  EXPECT_TRUE(torch::allclose(x.grad(), linear->weight.detach().sum(0).expand({40, 8})));
  EXPECT_TRUE(linear->bias.grad().defined());
}

TEST(FastLinearTest, InMixedPrecisionItRounds) {
  const torch::NoGradGuard no_grad;
  torch::nn::Linear linear(8, 5);
  const torch::Tensor x = torch::randn({40, 8});
  const MixedPrecision mixed(torch::kCPU);
  EXPECT_EQ(FastLinear(linear, x).scalar_type(), torch::kBFloat16);
}

}  // namespace
}  // namespace dime
