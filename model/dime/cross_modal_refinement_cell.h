#ifndef DIME_MODEL_DIME_CROSS_MODAL_REFINEMENT_CELL_H_
#define DIME_MODEL_DIME_CROSS_MODAL_REFINEMENT_CELL_H_

#include <string>

#include "absl/strings/string_view.h"
#include "model/dime/cell.h"

namespace dime {

// How the raw attention scores are normalised along M, for each context row
// (raw_feature_norm_CMRC).
enum class AttentionNorm {
  kClippedL2,  // leaky relu 0.1, then / max(norm, 1e-12)
  kL2,         // / (norm + 1e-8)
  kClippedL1,  // leaky relu 0.1, then / (sum of magnitudes + 1e-8)
  kL1,         // / (sum of magnitudes + 1e-8)
  kClipped,    // leaky relu 0.1
  kNone,
  kSoftmax,
};
// False for an unknown name; the names are dime-model.md's.
bool ParseAttentionNorm(absl::string_view name, AttentionNorm* norm);

// The "refine" part of CMRC: attention of the local sequence over the context, then a scale and
// shift of each position by what it attended to.
class RefinementImpl : public torch::nn::Module {
 public:
  explicit RefinementImpl(const InteractionOptions& options);
  torch::Tensor forward(const torch::Tensor& query, const CrossModalInput& other);
  // P, (..., M, C): how much each position attends to each valid context row.
  torch::Tensor Attention(const torch::Tensor& query, const CrossModalInput& other) const;

 private:
  AttentionNorm norm_ = AttentionNorm::kClippedL2;
  const double lambda_;
  torch::nn::Linear fc_scale_{nullptr}, fc_shift_{nullptr}, fc_1_{nullptr}, fc_2_{nullptr};
};
TORCH_MODULE(Refinement);

// CMRC: refines the local sequence by the other modality's (dime-model.md, 3).
class CrossModalRefinementCellImpl : public CellImpl {
 public:
  CrossModalRefinementCellImpl(const InteractionOptions& options, int num_paths)
      : CellImpl(options, num_paths), refine_(register_module("refine", Refinement(options))) {}
  torch::Tensor forward(const torch::Tensor& local, const CrossModalInput& other) override {
    return refine_->forward(local, other);
  }
  // (..., M, C): the attention that forward() computes with.
  torch::Tensor Attention(const torch::Tensor& local, const CrossModalInput& other) const {
    return refine_->Attention(local, other);
  }

 private:
  Refinement refine_;
};
TORCH_MODULE(CrossModalRefinementCell);

}  // namespace dime

#endif  // DIME_MODEL_DIME_CROSS_MODAL_REFINEMENT_CELL_H_
