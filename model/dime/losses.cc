#include "model/dime/losses.h"

#include <algorithm>
#include <limits>

namespace dime {
namespace {

// (images, texts) bool: the paired diagonal and whatever else is no negative.
torch::Tensor ExcludedPairs(const torch::Tensor& scores, const torch::Tensor& not_negative) {
  const torch::Tensor diagonal =
      torch::eye(scores.size(0), scores.size(1), scores.options().dtype(torch::kBool));
  return not_negative.defined() ? diagonal.logical_or(not_negative) : diagonal;
}

}  // namespace

torch::Tensor RankingLoss(const torch::Tensor& scores, double margin, bool hardest_only,
                          const torch::Tensor& not_negative) {
  const int64_t pairs = std::min(scores.size(0), scores.size(1));
  const torch::Tensor own = scores.diagonal();  // (B)
  const torch::Tensor excluded = ExcludedPairs(scores, not_negative);
  const torch::Tensor of_images =
      torch::relu(margin + scores.narrow(0, 0, pairs) - own.unsqueeze(1))
          .masked_fill(excluded.narrow(0, 0, pairs), 0);
  const torch::Tensor of_texts = torch::relu(margin + scores.narrow(1, 0, pairs) - own.unsqueeze(0))
                                     .masked_fill(excluded.narrow(1, 0, pairs), 0);
  if (!hardest_only) return of_images.sum() + of_texts.sum();
  return std::get<0>(of_images.max(1)).sum() + std::get<0>(of_texts.max(0)).sum();
}

torch::Tensor ContrastiveLoss(const torch::Tensor& scores, double temperature,
                              const torch::Tensor& not_negative) {
  const int64_t pairs = std::min(scores.size(0), scores.size(1));
  torch::Tensor logits = scores / temperature;
  if (not_negative.defined()) {
    const torch::Tensor diagonal =
        torch::eye(scores.size(0), scores.size(1), scores.options().dtype(torch::kBool));
    logits = logits.masked_fill(not_negative.logical_and(diagonal.logical_not()),
                                -std::numeric_limits<float>::infinity());
  }
  const torch::Tensor partner = torch::arange(pairs, scores.options().dtype(torch::kLong));
  return (torch::cross_entropy_loss(logits.narrow(0, 0, pairs), partner) +
          torch::cross_entropy_loss(logits.narrow(1, 0, pairs).t(), partner)) /
         2;
}

torch::Tensor GroupContrastiveLoss(const torch::Tensor& scores, double temperature,
                                   const torch::Tensor& not_negative) {
  torch::Tensor logits = scores / temperature;
  if (not_negative.defined()) {
    const torch::Tensor diagonal =
        torch::eye(scores.size(1), scores.options().dtype(torch::kBool)).unsqueeze(0);
    logits = logits.masked_fill(not_negative.logical_and(diagonal.logical_not()),
                                -std::numeric_limits<float>::infinity());
  }
  const auto own = [](const torch::Tensor& log_shares) {
    return log_shares.diagonal(0, 1, 2).mean();
  };
  return -(own(logits.log_softmax(2)) + own(logits.log_softmax(1))) / 2;
}

torch::Tensor ListDistillationLoss(const torch::Tensor& scores, const torch::Tensor& taught) {
  const auto along = [&](int64_t dim) {
    const torch::Tensor wanted = taught.log_softmax(dim);
    return (wanted.exp() * (wanted - scores.log_softmax(dim))).sum(dim).mean();
  };
  return (along(1) + along(2)) / 2;
}

torch::Tensor AlignmentScores(const torch::Tensor& regions, const torch::Tensor& words,
                              const torch::Tensor& word_mask) {
  const int64_t images = regions.size(0), texts = words.size(0), positions = words.size(1);
  const torch::Tensor met = torch::matmul(words.reshape({texts * positions, -1}),
                                          regions.reshape({-1, regions.size(2)}).t())
                                .view({texts, positions, images, regions.size(1)})
                                .amax(3);  // (texts, L, images)
  const torch::Tensor weights = word_mask.to(met.dtype()).unsqueeze(2);
  return ((met * weights).sum(1) / weights.sum(1)).t();
}

torch::Tensor PathRegularization(const torch::Tensor& path_embeddings,
                                 const torch::Tensor& caption_embeddings) {
  const torch::Tensor paths = torch::matmul(path_embeddings, path_embeddings.t());
  const torch::Tensor captions = torch::matmul(caption_embeddings, caption_embeddings.t());
  return (paths - captions).square().sum() / path_embeddings.size(0);
}

}  // namespace dime
