#include "model/dime/training_step.h"

#include "model/dime/losses.h"
#include "model/dime/tensor_ops.h"

namespace dime {

StepLoss ComputeStepLoss(DirectionModelImpl& model, const TrainingBatch& batch,
                         const LossOptions& options) {
  const ImageHeadsImpl::Output images = model.image->forward(batch.features);
  const TextHeadsImpl::Output texts = model.text->forward(batch.states);
  const torch::Tensor mask =
      torch::arange(batch.states.size(1), batch.lengths.options()).unsqueeze(0) <
      batch.lengths.unsqueeze(1);
  const InteractionImpl::Output output =
      model.Score(images.regions.unsqueeze(1), images.image.unsqueeze(1),
                  texts.words.unsqueeze(0), texts.sentence.unsqueeze(0), mask.unsqueeze(0));

  StepLoss loss;
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
  if (options.global_weight != 0) {
    loss.global = ContrastiveLoss(torch::matmul(images.image, texts.sentence.t()),
                                  options.temperature, batch.not_negative);
    loss.total = loss.total + options.global_weight * loss.global;
  }
  return loss;
}

}  // namespace dime
