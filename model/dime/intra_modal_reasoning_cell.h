#ifndef DIME_MODEL_DIME_INTRA_MODAL_REASONING_CELL_H_
#define DIME_MODEL_DIME_INTRA_MODAL_REASONING_CELL_H_

#include "model/dime/cell.h"

namespace dime {

// Multi-head self-attention over the positions, without an output projection and without a mask.
class SelfAttentionImpl : public torch::nn::Module {
 public:
  SelfAttentionImpl(int embed_size, int num_heads);
  torch::Tensor forward(const torch::Tensor& local);  // (..., M, E) -> (..., M, E)

 private:
  const int num_heads_;
  torch::nn::ModuleList linears_{nullptr};  // query, key, value; E -> E
};
TORCH_MODULE(SelfAttention);

// fc2(relu(fc1(y))).
class FeedForwardImpl : public torch::nn::Module {
 public:
  FeedForwardImpl(int embed_size, int hidden_size);
  torch::Tensor forward(const torch::Tensor& local);

 private:
  torch::nn::Linear fc1_{nullptr}, fc2_{nullptr};
};
TORCH_MODULE(FeedForward);

// Both, residual: y = Z + MHA(Z); y + FFN(y).
class AttentionBlockImpl : public torch::nn::Module {
 public:
  explicit AttentionBlockImpl(const InteractionOptions& options);
  torch::Tensor forward(const torch::Tensor& local);

 private:
  SelfAttention att_layer_{nullptr};
  FeedForward feed_forward_layer_{nullptr};
};
TORCH_MODULE(AttentionBlock);

// IMRC: lets the positions of one modality reason about each other (dime-model.md, 3). Depends on
// the local sequence alone.
class IntraModalReasoningCellImpl : public CellImpl {
 public:
  IntraModalReasoningCellImpl(const InteractionOptions& options, int num_paths)
      : CellImpl(options, num_paths), sa_(register_module("sa", AttentionBlock(options))) {}
  torch::Tensor forward(const torch::Tensor& local, const CrossModalInput& other) override {
    return sa_->forward(local);
  }

 private:
  AttentionBlock sa_;
};
TORCH_MODULE(IntraModalReasoningCell);

}  // namespace dime

#endif  // DIME_MODEL_DIME_INTRA_MODAL_REASONING_CELL_H_
