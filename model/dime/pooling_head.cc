#include "model/dime/pooling_head.h"

#include <limits>

#include "model/dime/tensor_ops.h"

namespace dime {

PoolingHeadImpl::PoolingHeadImpl(const Options& options) {
  const int pooled = (options.num_queries + 2) * options.hidden_size;
  input_mean_ = register_buffer("input_mean", torch::zeros({options.input_size}));
  input_scale_ = register_buffer("input_scale", torch::ones({options.input_size}));
  position_ =
      register_module("position", torch::nn::Linear(options.input_size, options.hidden_size));
  queries_ =
      register_module("queries", torch::nn::Linear(options.hidden_size, options.num_queries));
  norm_ =
      register_module("norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({int64_t{pooled}})));
  inner_ = register_module("inner", torch::nn::Linear(pooled, 2 * options.output_size));
  outer_ =
      register_module("outer", torch::nn::Linear(2 * options.output_size, options.output_size));
}

torch::Tensor PoolingHeadImpl::forward(const torch::Tensor& local, const torch::Tensor& mask) {
  const torch::Tensor hidden =
      torch::gelu(position_->forward((local - input_mean_) * input_scale_));  // (B, N, W)
  torch::Tensor logits = queries_->forward(hidden);                           // (B, N, K)
  torch::Tensor mean, maximum;                                                // (B, W)
  if (mask.defined()) {
    const torch::Tensor absent = mask.logical_not().unsqueeze(-1);  // (B, N, 1)
    logits = logits.masked_fill(absent, -std::numeric_limits<float>::infinity());
    mean = hidden.masked_fill(absent, 0).sum(1) / mask.sum(1, /*keepdim=*/true);
    maximum = hidden.masked_fill(absent, -std::numeric_limits<float>::infinity()).amax(1);
  } else {
    mean = hidden.mean(1);
    maximum = hidden.amax(1);
  }
  const torch::Tensor attended =
      torch::matmul(logits.softmax(1).transpose(1, 2), hidden).flatten(1);  // (B, K W)
  const torch::Tensor pooled = norm_->forward(torch::cat({attended, mean, maximum}, -1));
  return NormalizeL2(outer_->forward(torch::gelu(inner_->forward(pooled))), -1);
}

void PoolingHeadImpl::SetInputStatistics(const torch::Tensor& mean,
                                         const torch::Tensor& deviation) {
  torch::NoGradGuard no_grad;
  input_mean_.copy_(mean);
  // An input that never changes carries nothing: no scale makes it louder.
  input_scale_.copy_(deviation.clamp_min(1e-6).reciprocal().masked_fill(deviation < 1e-6, 1));
}

}  // namespace dime
