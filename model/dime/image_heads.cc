#include "model/dime/image_heads.h"

#include "model/dime/tensor_ops.h"

namespace dime {

ImageHeadsImpl::ImageHeadsImpl(Direction direction, const DirectionConfig& config)
    : normalize_pooled_(direction == Direction::kT2i),
      unit_image_(!config.no_imgnorm),
      absolute_image_(config.use_abs) {
  fc_ = register_module("fc", torch::nn::Linear(config.feature_dim, config.embed_size));
  torch::nn::init::xavier_uniform_(fc_->weight);  // dime-model.md, 6
  torch::nn::init::zeros_(fc_->bias);
  bn_ = register_module("bn", torch::nn::BatchNorm1d(config.embed_size));
}

ImageHeadsImpl::Output ImageHeadsImpl::forward(const torch::Tensor& features) {
  const torch::Tensor projected = fc_->forward(features);  // (B, R, E)
  torch::Tensor image = projected.mean(1);
  if (normalize_pooled_) image = bn_->forward(image);
  if (unit_image_) image = NormalizeL2(image, -1);
  if (absolute_image_) image = image.abs();
  return {.regions = NormalizeL2(projected, -1), .image = image};
}

}  // namespace dime
