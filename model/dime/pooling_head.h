#ifndef DIME_MODEL_DIME_POOLING_HEAD_H_
#define DIME_MODEL_DIME_POOLING_HEAD_H_

#include <torch/torch.h>

namespace dime {

// Makes one unit vector of a sequence of local features: a layer at each position, then pooling by
// several learned queries that attend to the positions, by the mean and by the maximum, all side by
// side, then two layers. Positions that are masked have no influence whatever.
// Thread-safe in evaluation mode.
class PoolingHeadImpl : public torch::nn::Module {
 public:
  struct Options {
    int input_size = 0;
    int hidden_size = 256;  // W
    int num_queries = 8;    // K
    int output_size = 256;  // C
  };

  explicit PoolingHeadImpl(const Options& options);

  // `local` (B, N, input_size); `mask` (B, N) bool, true at valid positions, of which every row has
  // one at least; undefined = all. Returns (B, C) with unit rows.
  torch::Tensor forward(const torch::Tensor& local, const torch::Tensor& mask = {});

  // Inputs are standardised by these before anything else; until set, they are taken as they are.
  // `mean`, `deviation` (input_size).
  void SetInputStatistics(const torch::Tensor& mean, const torch::Tensor& deviation);

 private:
  torch::Tensor input_mean_, input_scale_;  // (input_size)
  torch::nn::Linear position_{nullptr};     // input_size -> W
  torch::nn::Linear queries_{nullptr};      // W -> K attention logits
  torch::nn::LayerNorm norm_{nullptr};      // of all that was pooled, (K + 2) W
  torch::nn::Linear inner_{nullptr};        // (K + 2) W -> 2 C
  torch::nn::Linear outer_{nullptr};        // 2 C -> C
};
TORCH_MODULE(PoolingHead);

}  // namespace dime

#endif  // DIME_MODEL_DIME_POOLING_HEAD_H_
