#ifndef DIME_MODEL_DIME_FAST_LINEAR_H_
#define DIME_MODEL_DIME_FAST_LINEAR_H_

#include <torch/torch.h>

namespace dime {

// linear(x) by the faster of the libraries that LibTorch multiplies float32 with, for layers that
// are not trained. Its own choice is MKL, which makes half of what AMD's processors can do; there
// this takes oneDNN (benchmarks/README.md). As linear->forward(x) where gradients are wanted, for
// other types and devices, in mixed precision, and where this LibTorch has no such operator. Equal
// up to rounding.
torch::Tensor FastLinear(torch::nn::Linear& linear, const torch::Tensor& x);

}  // namespace dime

#endif  // DIME_MODEL_DIME_FAST_LINEAR_H_
