#include "model/dime/intra_modal_reasoning_cell.h"

#include <cmath>

namespace dime {

SelfAttentionImpl::SelfAttentionImpl(int embed_size, int num_heads) : num_heads_(num_heads) {
  linears_ = register_module("linears", torch::nn::ModuleList());
  for (int i = 0; i < 3; ++i) linears_->push_back(torch::nn::Linear(embed_size, embed_size));
}

torch::Tensor SelfAttentionImpl::forward(const torch::Tensor& local) {
  const int64_t size = local.size(-1);
  const int64_t head_size = size / num_heads_;
  // (..., M, E) -> (..., heads, M, E / heads)
  const auto split = [&](int i) {
    const torch::Tensor x = linears_->at<torch::nn::LinearImpl>(i).forward(local);
    return x.unflatten(-1, {num_heads_, head_size}).transpose(-2, -3);
  };
  const torch::Tensor query = split(0) / std::sqrt(static_cast<double>(head_size));
  const torch::Tensor weights =
      torch::softmax(torch::matmul(query, split(1).transpose(-1, -2)), -1);
  return torch::matmul(weights, split(2)).transpose(-2, -3).flatten(-2);
}

FeedForwardImpl::FeedForwardImpl(int embed_size, int hidden_size) {
  fc1_ = register_module("fc1", torch::nn::Linear(embed_size, hidden_size));
  fc2_ = register_module("fc2", torch::nn::Linear(hidden_size, embed_size));
}

torch::Tensor FeedForwardImpl::forward(const torch::Tensor& local) {
  return fc2_->forward(torch::relu(fc1_->forward(local)));
}

AttentionBlockImpl::AttentionBlockImpl(const InteractionOptions& options) {
  att_layer_ = register_module("att_layer", SelfAttention(options.embed_size, options.num_heads));
  feed_forward_layer_ = register_module("feed_forward_layer",
                                        FeedForward(options.embed_size, options.feed_forward_size));
}

torch::Tensor AttentionBlockImpl::forward(const torch::Tensor& local) {
  const torch::Tensor attended = local + att_layer_->forward(local);
  return attended + feed_forward_layer_->forward(attended);
}

}  // namespace dime
