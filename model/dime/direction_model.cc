#include "model/dime/direction_model.h"

namespace dime {

DirectionModelImpl::DirectionModelImpl(Direction direction, const DirectionConfig& config,
                                       int bert_size)
    : direction_(direction), config_(config) {
  image = register_module("image", ImageHeads(direction, config));
  text = register_module("text", TextHeads(bert_size, config.embed_size));
  interaction = register_module(
      "interaction", Interaction(InteractionOptions{.embed_size = config.embed_size,
                                                    .num_heads = config.num_heads,
                                                    .feed_forward_size = config.feed_forward_size,
                                                    .router_size = config.router_size,
                                                    .raw_feature_norm = config.raw_feature_norm,
                                                    .lambda_softmax = config.lambda_softmax}));
}

InteractionImpl::Output DirectionModelImpl::Score(const torch::Tensor& regions,
                                                  const torch::Tensor& image_vector,
                                                  const torch::Tensor& words,
                                                  const torch::Tensor& sentence,
                                                  const torch::Tensor& word_mask,
                                                  InteractionImpl::Attention* attention) {
  if (direction_ == Direction::kI2t) {
    return interaction->forward(
        regions, {.guide = sentence, .context = words, .context_mask = word_mask}, attention);
  }
  // Words are refined with their padded positions, under all regions.
  return interaction->forward(words, {.guide = image_vector, .context = regions}, attention);
}

}  // namespace dime
