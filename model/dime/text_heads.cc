#include "model/dime/text_heads.h"

#include <vector>

#include "model/dime/tensor_ops.h"

namespace dime {
namespace {

constexpr int kNumWindows = 3;

// relu(conv) over windows of `kernel` positions, as one product of the windows side by side.
// A window of 2 starts at its position, one of 3 is centred on it; zeros stand outside the caption.
torch::Tensor Convolve(const torch::nn::Conv2dImpl& conv, const torch::Tensor& states, int kernel) {
  const int64_t length = states.size(1);
  const int before = (kernel - 1) / 2;
  const torch::Tensor padded =
      torch::constant_pad_nd(states, {0, 0, before, kernel - 1 - before});  // (B, L + k - 1, H)
  std::vector<torch::Tensor> window;
  for (int k = 0; k < kernel; ++k) window.push_back(padded.narrow(1, k, length));
  return torch::relu(torch::linear(torch::cat(window, -1), conv.weight.flatten(1), conv.bias));
}

}  // namespace

TextHeadsImpl::TextHeadsImpl(int hidden_size, int embed_size) {
  fc_ = register_module("fc", torch::nn::Linear(hidden_size, embed_size));
  convs1_ = register_module("convs1", torch::nn::ModuleList());
  for (int kernel = 1; kernel <= kNumWindows; ++kernel) {
    convs1_->push_back(
        torch::nn::Conv2d(torch::nn::Conv2dOptions(1, embed_size, {kernel, hidden_size})));
  }
  mapping_ = register_module("mapping", torch::nn::Linear(kNumWindows * embed_size, embed_size));
}

TextHeadsImpl::Output TextHeadsImpl::forward(const torch::Tensor& states) {
  const torch::Tensor projected = fc_->forward(states);  // x
  std::vector<torch::Tensor> channels;
  for (int kernel = 1; kernel <= kNumWindows; ++kernel) {
    channels.push_back(Convolve(convs1_->at<torch::nn::Conv2dImpl>(kernel - 1), states, kernel));
  }
  const torch::Tensor windows = torch::cat(channels, -1);  // (B, L, 3 E)
  return {.words = NormalizeL2(mapping_->forward(windows) + projected, -1),
          .sentence = NormalizeL2(mapping_->forward(windows.amax(1)) + projected.mean(1), -1)};
}

}  // namespace dime
