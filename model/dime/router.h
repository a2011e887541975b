#ifndef DIME_MODEL_DIME_ROUTER_H_
#define DIME_MODEL_DIME_ROUTER_H_

#include <torch/torch.h>

namespace dime {

// A cell's router: decides per input how far each of its out-paths is open
// (dime-model.md, 3: gate(Z) = relu(tanh(MLP(mean over M of Z)))). A gate can be exactly zero.
class RouterImpl : public torch::nn::Module {
 public:
  RouterImpl(int embed_size, int hidden_size, int num_paths);

  // `local` (..., M, E) -> gates (..., num_paths) in [0, 1).
  torch::Tensor forward(const torch::Tensor& local);

 private:
  torch::nn::Sequential mlp_{nullptr};  // 0: E -> hidden, 1: relu, 2: hidden -> paths
};
TORCH_MODULE(Router);

}  // namespace dime

#endif  // DIME_MODEL_DIME_ROUTER_H_
