#ifndef DIME_MODEL_DIME_INTERACTION_H_
#define DIME_MODEL_DIME_INTERACTION_H_

#include <torch/torch.h>

#include <array>

#include "model/dime/cell.h"
#include "model/dime/routing_layer.h"

namespace dime {

// The cross-modal part of one direction: three densely connected routing layers over a local
// sequence, then the score against the other side's global vector (dime-model.md, 4 and 5). The
// modules here are the yardstick that every other way to compute a score is compared with.
// Thread-safe in evaluation mode.
class InteractionImpl : public torch::nn::Module {
 public:
  struct Output {
    torch::Tensor scores;        // (...): cosines
    torch::Tensor path_weights;  // (..., 36), see kNumPathWeights
  };
  // (..., M, C) of each layer: how much each position of the local sequence attends to each context
  // row in the layer's cross-modal refinement cell.
  using Attention = std::array<torch::Tensor, kNumRoutingLayers>;

  explicit InteractionImpl(const InteractionOptions& options);

  // `local` (..., M, E): regions for i-t, words for t-i, all positions. See CrossModalInput for how
  // leading dimensions broadcast. `attention`, where given, is filled too; the rest is computed as
  // without it.
  Output forward(const torch::Tensor& local, const CrossModalInput& other,
                 Attention* attention = nullptr);

  // Layer 0 to kNumRoutingLayers - 1, and the batch normalisation of the last one's output.
  RoutingLayerImpl& layer(int index);
  torch::nn::BatchNorm1dImpl& batch_norm() { return *bn_; }

  // Path regularisation's embedding of averaged path vectors: (n, 36) -> (n, 128), unit rows
  // (dime-model.md, 6).
  torch::Tensor EmbedPaths(const torch::Tensor& paths);

 private:
  RoutingLayer dynamic_itr_l0_{nullptr}, dynamic_itr_l1_{nullptr}, dynamic_itr_l2_{nullptr};
  torch::nn::Linear path_mapping_{nullptr};
  torch::nn::BatchNorm1d bn_{nullptr};
};
TORCH_MODULE(Interaction);

}  // namespace dime

#endif  // DIME_MODEL_DIME_INTERACTION_H_
