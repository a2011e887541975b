#ifndef DIME_MODEL_DIME_IMAGE_HEADS_H_
#define DIME_MODEL_DIME_IMAGE_HEADS_H_

#include <torch/torch.h>

#include "index/features.h"
#include "model/dime/model_config.h"

namespace dime {

// What DIME makes of region features: a vector for each region and one for the image
// (dime-model.md, 2). Thread-safe in evaluation mode.
class ImageHeadsImpl : public torch::nn::Module {
 public:
  struct Output {
    torch::Tensor regions;  // (B, R, E), unit rows
    torch::Tensor image;    // (B, E), unit rows unless no_imgnorm
  };

  ImageHeadsImpl(Direction direction, const DirectionConfig& config);
  Output forward(const torch::Tensor& features);  // (B, R, D)

 private:
  const bool normalize_pooled_;  // the t-i model's batch norm of the pooled regions
  const bool unit_image_;
  const bool absolute_image_;
  torch::nn::Linear fc_{nullptr};       // D -> E
  torch::nn::BatchNorm1d bn_{nullptr};  // in every checkpoint; used by the t-i model alone
};
TORCH_MODULE(ImageHeads);

}  // namespace dime

#endif  // DIME_MODEL_DIME_IMAGE_HEADS_H_
