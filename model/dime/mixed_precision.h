#ifndef DIME_MODEL_DIME_MIXED_PRECISION_H_
#define DIME_MODEL_DIME_MIXED_PRECISION_H_

#include <torch/torch.h>

namespace dime {

// While it lives, LibTorch's operations of this thread on one kind of device run in mixed
// precision: products of matrices in bfloat16, norms and softmax in float32 (torch.autocast).
// Parameters stay float32 and so do their gradients; bfloat16 has float32's range, so that losses
// need no scaling. Backward passes and losses, whose products would be rounded too, belong outside.
class MixedPrecision {
 public:
  explicit MixedPrecision(torch::DeviceType device);
  ~MixedPrecision();
  MixedPrecision(const MixedPrecision&) = delete;
  MixedPrecision& operator=(const MixedPrecision&) = delete;

  static bool IsOn(torch::DeviceType device);  // in this thread

 private:
  const torch::DeviceType device_;
  const bool was_on_;
  const torch::Dtype dtype_before_;
};

}  // namespace dime

#endif  // DIME_MODEL_DIME_MIXED_PRECISION_H_
