#include "model/dime/training_step.h"

#include <algorithm>
#include <vector>

#include "model/dime/losses.h"
#include "model/dime/tensor_ops.h"

namespace dime {

namespace {

// (n, ...) -> (n / size, size, 1, ...) or (n / size, 1, size, ...): groups of neighbours, all
// images of a group against all its texts.
torch::Tensor InGroups(const torch::Tensor& x, int64_t size, int64_t broadcast_dim) {
  std::vector<int64_t> shape = x.sizes().vec();
  shape[0] = size;
  shape.insert(shape.begin(), x.size(0) / size);
  return x.view(shape).unsqueeze(broadcast_dim);
}

torch::Tensor ShareFound(const torch::Tensor& scores) {  // (..., images, texts), square at least
  const torch::Tensor best =
      scores.argmax(-2).narrow(-1, 0, std::min(scores.size(-1), scores.size(-2)));
  return best.eq(torch::arange(best.size(-1), best.options())).to(torch::kFloat32).mean();
}

// A step of the encoders alone.
StepLoss AlignmentLoss(const ImageHeadsImpl::Output& images, const TextHeadsImpl::Output& texts,
                       const torch::Tensor& mask, const TrainingBatch& batch,
                       const LossOptions& options) {
  const torch::Tensor scores = AlignmentScores(images.regions, texts.words, mask);
  StepLoss loss;
  loss.alignment = ContrastiveLoss(scores, options.alignment_temperature, batch.not_negative);
  if (batch.alignment_group > 1) {
    const int64_t size = batch.alignment_group, groups = scores.size(0) / size;
    // (groups, size, groups, size) -> the diagonal blocks, (groups, size, size).
    const auto blocks = [&](const torch::Tensor& x) {
      return x.view({groups, size, groups, size}).diagonal(0, 0, 2).permute({2, 0, 1});
    };
    const torch::Tensor within = blocks(scores.contiguous());
    loss.alignment = loss.alignment + GroupContrastiveLoss(within, options.alignment_temperature,
                                                           blocks(batch.not_negative));
    torch::NoGradGuard no_grad;
    loss.found = ShareFound(within);
  }
  loss.rank = loss.alignment;
  loss.total = loss.alignment;
  if (options.global_weight != 0) {
    loss.global = ContrastiveLoss(torch::matmul(images.image, texts.sentence.t()),
                                  options.temperature, batch.not_negative);
    loss.total = loss.total + options.global_weight * loss.global;
  }
  return loss;
}

}  // namespace

StepLoss ComputeStepLoss(DirectionModelImpl& model, const TrainingBatch& batch,
                         const LossOptions& options) {
  const ImageHeadsImpl::Output images = model.image->forward(batch.features);
  const TextHeadsImpl::Output texts = model.text->forward(batch.states);
  const torch::Tensor mask =
      torch::arange(batch.states.size(1), batch.lengths.options()).unsqueeze(0) <
      batch.lengths.unsqueeze(1);
  if (batch.alignment_group != 0) return AlignmentLoss(images, texts, mask, batch, options);
  const bool grouped = batch.group_size != 0;
  const auto image_side = [&](const torch::Tensor& x) {
    return grouped ? InGroups(x, batch.group_size, 2) : x.unsqueeze(1);
  };
  const auto text_side = [&](const torch::Tensor& x) {
    return grouped ? InGroups(x, batch.group_size, 1) : x.unsqueeze(0);
  };
  const InteractionImpl::Output output =
      model.Score(image_side(images.regions), image_side(images.image), text_side(texts.words),
                  text_side(texts.sentence), text_side(mask));

  StepLoss loss;
  {
    torch::NoGradGuard no_grad;
    loss.found = ShareFound(output.scores);
  }
  if (grouped) {
    loss.rank = GroupContrastiveLoss(output.scores, options.temperature, batch.not_negative);
    loss.total = loss.rank;
    return loss;
  }
  loss.rank = options.contrastive
                  ? ContrastiveLoss(output.scores, options.temperature, batch.not_negative)
                  : RankingLoss(output.scores, options.margin, options.hardest_negatives,
                                batch.not_negative);
  loss.total = loss.rank;
  if (options.path_weight != 0) {
    // One path vector for each item of the refined side: the mean over the other side's items.
    const bool by_image = model.direction() == Direction::kI2t;
    const torch::Tensor paths =
        output.path_weights.mean(by_image ? 1 : 0).narrow(0, 0, batch.pairs);  // (B, 36)
    const torch::Tensor captions =
        NormalizeL2(batch.states.narrow(0, 0, batch.pairs).mean(1), -1);  // (B, H)
    loss.path = PathRegularization(model.interaction->EmbedPaths(paths), captions);
    loss.total = loss.total + options.path_weight * loss.path;
  }
  if (options.alignment_weight != 0) {
    loss.alignment = ContrastiveLoss(AlignmentScores(images.regions, texts.words, mask),
                                     options.alignment_temperature, batch.not_negative);
    loss.total = loss.total + options.alignment_weight * loss.alignment;
  }
  if (options.global_weight != 0) {
    loss.global = ContrastiveLoss(torch::matmul(images.image, texts.sentence.t()),
                                  options.temperature, batch.not_negative);
    loss.total = loss.total + options.global_weight * loss.global;
  }
  return loss;
}

}  // namespace dime
