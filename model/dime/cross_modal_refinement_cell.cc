#include "model/dime/cross_modal_refinement_cell.h"

#include <limits>
#include <utility>

#include "model/dime/tensor_ops.h"

namespace dime {
namespace {

torch::Tensor Clip(const torch::Tensor& scores) { return torch::leaky_relu(scores, 0.1); }

torch::Tensor NormalizeL1(const torch::Tensor& scores) {
  return scores / (scores.abs().sum(-1, /*keepdim=*/true) + 1e-8);
}

torch::Tensor NormalizeScores(const torch::Tensor& scores, AttentionNorm norm) {
  switch (norm) {
    case AttentionNorm::kClippedL2:
      return NormalizeL2(Clip(scores), -1);
    case AttentionNorm::kL2:
      return scores / (scores.norm(2, -1, /*keepdim=*/true) + 1e-8);
    case AttentionNorm::kClippedL1:
      return NormalizeL1(Clip(scores));
    case AttentionNorm::kL1:
      return NormalizeL1(scores);
    case AttentionNorm::kClipped:
      return Clip(scores);
    case AttentionNorm::kNone:
      return scores;
    case AttentionNorm::kSoftmax:
      return torch::softmax(scores, -1);
  }
  return scores;
}

}  // namespace

bool ParseAttentionNorm(absl::string_view name, AttentionNorm* norm) {
  static constexpr std::pair<absl::string_view, AttentionNorm> kNames[] = {
      {"clipped_l2norm", AttentionNorm::kClippedL2}, {"l2norm", AttentionNorm::kL2},
      {"clipped_l1norm", AttentionNorm::kClippedL1}, {"l1norm", AttentionNorm::kL1},
      {"clipped", AttentionNorm::kClipped},          {"no_norm", AttentionNorm::kNone},
      {"softmax", AttentionNorm::kSoftmax}};
  for (const auto& [known, value] : kNames) {
    if (name == known) {
      *norm = value;
      return true;
    }
  }
  return false;
}

RefinementImpl::RefinementImpl(const InteractionOptions& options)
    : lambda_(options.lambda_softmax) {
  TORCH_CHECK(ParseAttentionNorm(options.raw_feature_norm, &norm_), "unknown raw_feature_norm ",
              options.raw_feature_norm);
  const int size = options.embed_size;
  fc_scale_ = register_module("fc_scale", torch::nn::Linear(size, size));
  fc_shift_ = register_module("fc_shift", torch::nn::Linear(size, size));
  fc_1_ = register_module("fc_1", torch::nn::Linear(size, size));
  fc_2_ = register_module("fc_2", torch::nn::Linear(size, size));
}

torch::Tensor RefinementImpl::Attention(const torch::Tensor& query,
                                        const CrossModalInput& other) const {
  const torch::Tensor raw = torch::matmul(other.context, query.transpose(-1, -2));  // (..., C, M)
  torch::Tensor logits = lambda_ * NormalizeScores(raw, norm_).transpose(-1, -2);   // (..., M, C)
  if (other.context_mask.defined()) {
    // Context rows are normalised each on its own, so hiding the padded ones here is the same as
    // never having had them.
    logits = logits.masked_fill(other.context_mask.logical_not().unsqueeze(-2),
                                -std::numeric_limits<float>::infinity());
  }
  return torch::softmax(logits, -1);
}

torch::Tensor RefinementImpl::forward(const torch::Tensor& query, const CrossModalInput& other) {
  const torch::Tensor attention = Attention(query, other);
  // Linear(P C) = P Linear(C), because the rows of P sum to one: the context is projected once for
  // all the positions and pairs that attend to it.
  const torch::Tensor scale = torch::matmul(attention, fc_scale_->forward(other.context));
  const torch::Tensor shift = torch::matmul(attention, fc_shift_->forward(other.context));
  const torch::Tensor refined = query * torch::tanh(scale) + shift;
  return query + fc_2_->forward(torch::relu(fc_1_->forward(refined)));
}

}  // namespace dime
