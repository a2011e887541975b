#include "model/dime/router.h"

#include "model/dime/tensor_ops.h"

namespace dime {

RouterImpl::RouterImpl(int embed_size, int hidden_size, int num_paths) {
  torch::nn::Linear output(hidden_size, num_paths);
  // Paths start open: tanh(1.5) is about 0.9 (dime-model.md, 6).
  torch::nn::init::constant_(output->bias, 1.5);
  mlp_ = register_module("mlp", torch::nn::Sequential(torch::nn::Linear(embed_size, hidden_size),
                                                      torch::nn::ReLU(), output));
}

torch::Tensor RouterImpl::forward(const torch::Tensor& local) {
  return torch::relu(torch::tanh(mlp_->forward(MeanOverPositions(local))));
}

}  // namespace dime
