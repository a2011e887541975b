#include "model/dime/training_step.h"

#include <algorithm>
#include <vector>

#include "model/dime/fused_interaction.h"
#include "model/dime/losses.h"
#include "model/dime/mixed_precision.h"
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

// All images of the batch against all its captions, (images, captions), or all of a group against
// each other, (groups, group_size, group_size), by the modules.
InteractionImpl::Output ScoreByModules(DirectionModelImpl& model, const PairedItems& items,
                                       const torch::Tensor& mask, int64_t group_size) {
  const auto image_side = [&](const torch::Tensor& x) {
    return group_size != 0 ? InGroups(x, group_size, 2) : x.unsqueeze(1);
  };
  const auto text_side = [&](const torch::Tensor& x) {
    return group_size != 0 ? InGroups(x, group_size, 1) : x.unsqueeze(0);
  };
  return model.Score(image_side(items.regions), image_side(items.image), text_side(items.words),
                     text_side(items.sentence), text_side(mask));
}

// The same by FusedScores().
InteractionImpl::Output ScoreFused(DirectionModelImpl& model, const PairedItems& items,
                                   int64_t group_size) {
  const int64_t images = items.regions.size(0), captions = items.words.size(0);
  TORCH_CHECK(group_size == 0 || (images == captions && images % group_size == 0),
              "a step within groups takes whole groups of pairs");
  std::vector<ImageCaptionPair> pairs;
  for (int64_t i = 0; i < images; ++i) {
    const int64_t first = group_size != 0 ? i / group_size * group_size : 0;
    const int64_t end = group_size != 0 ? first + group_size : captions;
    for (int64_t c = first; c < end; ++c) pairs.push_back({.image = i, .caption = c});
  }
  std::vector<int64_t> shape = {images, captions};
  if (group_size != 0) shape = {images / group_size, group_size, group_size};
  const InteractionImpl::Output output = FusedScores(model, items, pairs);
  std::vector<int64_t> path_shape = shape;
  path_shape.push_back(kNumPathWeights);
  return {.scores = output.scores.view(shape),
          .path_weights = output.path_weights.view(path_shape)};
}

// What the model makes of a batch, and what losses are made of.
struct ModelOutput {
  ImageHeadsImpl::Output images;
  TextHeadsImpl::Output texts;
  torch::Tensor mask;             // (captions, L): valid words
  InteractionImpl::Output pairs;  // undefined in a step of the encoders alone
};

ModelOutput RunModel(DirectionModelImpl& model, const TrainingBatch& batch,
                     const LossOptions& options) {
  ModelOutput made = {.images = model.image->forward(batch.features),
                      .texts = model.text->forward(batch.states)};
  made.mask = torch::arange(batch.states.size(1), batch.lengths.options()).unsqueeze(0) <
              batch.lengths.unsqueeze(1);
  if (batch.alignment_group != 0) return made;
  const PairedItems items = {made.images.regions, made.images.image, made.texts.words,
                             made.texts.sentence, batch.lengths};
  made.pairs = options.fused && CanFuseScores(items)
                   ? ScoreFused(model, items, batch.group_size)
                   : ScoreByModules(model, items, made.mask, batch.group_size);
  return made;
}

// The same in mixed precision. What it gives is float32, as the losses are.
ModelOutput RunModelMixed(DirectionModelImpl& model, const TrainingBatch& batch,
                          const LossOptions& options) {
  const MixedPrecision mixed(batch.features.device().type());
  ModelOutput made = RunModel(model, batch, options);
  for (torch::Tensor* x : {&made.images.regions, &made.images.image, &made.texts.words,
                           &made.texts.sentence, &made.pairs.scores, &made.pairs.path_weights}) {
    if (x->defined()) *x = x->to(torch::kFloat32);
  }
  return made;
}

}  // namespace

StepLoss ComputeStepLoss(DirectionModelImpl& model, const TrainingBatch& batch,
                         const LossOptions& options) {
  const auto& [images, texts, mask, output] = options.mixed_precision
                                                  ? RunModelMixed(model, batch, options)
                                                  : RunModel(model, batch, options);
  if (batch.alignment_group != 0) return AlignmentLoss(images, texts, mask, batch, options);

  StepLoss loss;
  {
    torch::NoGradGuard no_grad;
    loss.found = ShareFound(output.scores);
  }
  if (batch.group_size != 0) {
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
