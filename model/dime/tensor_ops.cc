#include "model/dime/tensor_ops.h"

namespace dime {

torch::Tensor NormalizeL2(const torch::Tensor& x, int64_t dim) {
  return x / x.norm(2, dim, /*keepdim=*/true).clamp_min(1e-12);
}

}  // namespace dime
