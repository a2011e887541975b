#include "model/dime/interaction.h"

#include "model/dime/tensor_ops.h"

namespace dime {
namespace {

constexpr int kPathEmbeddingSize = 128;

CellInputs ToInputs(const std::vector<torch::Tensor>& sequences) {
  return {sequences[0], sequences[1], sequences[2], sequences[3]};
}

}  // namespace

InteractionImpl::InteractionImpl(const InteractionOptions& options) {
  dynamic_itr_l0_ = register_module("dynamic_itr_l0", RoutingLayer(options, kNumCells));
  dynamic_itr_l1_ = register_module("dynamic_itr_l1", RoutingLayer(options, kNumCells));
  dynamic_itr_l2_ = register_module("dynamic_itr_l2", RoutingLayer(options, 1));
  path_mapping_ =
      register_module("path_mapping", torch::nn::Linear(kNumPathWeights, kPathEmbeddingSize));
  bn_ = register_module("bn", torch::nn::BatchNorm1d(options.embed_size));
}

InteractionImpl::Output InteractionImpl::forward(const torch::Tensor& local,
                                                 const CrossModalInput& other,
                                                 Attention* attention) {
  const CellInputs bare = {local, local, local, local};
  const RoutingLayerImpl::Output first = dynamic_itr_l0_->forward(bare, other);
  const CellInputs once = ToInputs(first.sequences);
  const RoutingLayerImpl::Output second = dynamic_itr_l1_->forward(once, other);
  const CellInputs twice = ToInputs(second.sequences);
  const RoutingLayerImpl::Output third = dynamic_itr_l2_->forward(twice, other);
  if (attention != nullptr) {
    *attention = {dynamic_itr_l0_->Attention(bare, other), dynamic_itr_l1_->Attention(once, other),
                  dynamic_itr_l2_->Attention(twice, other)};
  }

  torch::Tensor y = third.sequences[0];  // (..., M, E)
  y = bn_->forward(y.reshape({-1, y.size(-1)})).view(y.sizes());
  const torch::Tensor pooled = NormalizeL2(y.mean(-2) + y.amax(-2), -1);  // (..., E)

  // Layer 0's weights depend on one modality alone and have fewer leading dimensions to spell out.
  std::vector<int64_t> leading = third.path_weights.sizes().vec();
  leading.back() = -1;
  return {.scores = (pooled * other.guide).sum(-1),
          .path_weights = torch::cat({first.path_weights.expand(leading),
                                      second.path_weights.expand(leading), third.path_weights},
                                     -1)};
}

RoutingLayerImpl& InteractionImpl::layer(int index) {
  return index == 0 ? *dynamic_itr_l0_ : index == 1 ? *dynamic_itr_l1_ : *dynamic_itr_l2_;
}

torch::Tensor InteractionImpl::EmbedPaths(const torch::Tensor& paths) {
  return NormalizeL2(path_mapping_->forward(paths), -1);
}

}  // namespace dime
