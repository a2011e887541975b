#ifndef DIME_MODEL_DIME_TENSOR_OPS_H_
#define DIME_MODEL_DIME_TENSOR_OPS_H_

#include <torch/torch.h>

namespace dime {

// x / max(||x||_2, 1e-12) along `dim` (dime-model.md, notation). The sums are in float32 at least,
// and the clamp is on the square root, so that its gradient is finite at zero.
torch::Tensor NormalizeL2(const torch::Tensor& x, int64_t dim);

// Mean over the positions of a local sequence: (..., M, E) -> (..., E).
inline torch::Tensor MeanOverPositions(const torch::Tensor& local) { return local.mean(-2); }

}  // namespace dime

#endif  // DIME_MODEL_DIME_TENSOR_OPS_H_
