#ifndef DIME_MODEL_DIME_LOSSES_H_
#define DIME_MODEL_DIME_LOSSES_H_

#include <torch/torch.h>

namespace dime {

// Losses over a batch's score matrix S (images, texts): the first B images and texts belong
// together, B = min of both; images or texts beyond are negatives only (dime-model.md, 6).
// `not_negative` (images, texts) bool marks further pairs that are no negatives, as captions that
// are true of another image of the batch as well; undefined = none.

// sum_i max_j relu(m + S[i,j] - S[i,i]) over all texts + sum_j max_i relu(m + S[i,j] - S[j,j]) over
// all images, i and j within the B pairs; sums in place of maxima unless `hardest_only`.
torch::Tensor RankingLoss(const torch::Tensor& scores, double margin, bool hardest_only,
                          const torch::Tensor& not_negative = {});

// Mean over both sides of the softmax cross-entropy of finding the partner, at a temperature. Has a
// gradient for every pair, which hardest negatives lack: a start for training from nothing.
torch::Tensor ContrastiveLoss(const torch::Tensor& scores, double temperature,
                              const torch::Tensor& not_negative = {});

// The same within each block of `scores` (groups, images, texts), square, where a partner is found
// among its own group alone; mean over groups. `not_negative` has the shape of `scores`.
torch::Tensor GroupContrastiveLoss(const torch::Tensor& scores, double temperature,
                                   const torch::Tensor& not_negative = {});

// Divergence (KL) of the order in each row and in each column of blocks `scores` (blocks, images,
// texts), as logits, from that of `taught`, of the same shape; mean over rows and columns.
torch::Tensor ListDistillationLoss(const torch::Tensor& scores, const torch::Tensor& taught);

// Late interaction of the encoders alone: how well each of a text's valid words is met by the
// region nearest to it, mean over words: (images, texts), cosines. `regions` (images, R, E) and
// `words` (texts, L, E) have unit rows, `word_mask` (texts, L) is true where valid. Not part of
// DIME's score: a term on it teaches words and regions a common space, which attention then starts
// from.
torch::Tensor AlignmentScores(const torch::Tensor& regions, const torch::Tensor& words,
                              const torch::Tensor& word_mask);

// sum_ij (K_ij - b_i . b_j)^2 / B, with K the Gram matrix of `path_embeddings` (B, 128) and b of
// `caption_embeddings` (B, H), both with unit rows.
torch::Tensor PathRegularization(const torch::Tensor& path_embeddings,
                                 const torch::Tensor& caption_embeddings);

}  // namespace dime

#endif  // DIME_MODEL_DIME_LOSSES_H_
