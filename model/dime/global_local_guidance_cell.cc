#include "model/dime/global_local_guidance_cell.h"

#include "model/dime/tensor_ops.h"

namespace dime {

GlobalLocalGuidanceCellImpl::GlobalLocalGuidanceCellImpl(const InteractionOptions& options,
                                                         int num_paths)
    : CellImpl(options, num_paths) {
  const int size = options.embed_size;
  fc_1_ = register_module("fc_1", torch::nn::Linear(size, size));
  fc_2_ = register_module("fc_2", torch::nn::Linear(size, size));
}

torch::Tensor GlobalLocalGuidanceCellImpl::forward(const torch::Tensor& local,
                                                   const CrossModalInput& other) {
  const torch::Tensor guide = other.guide.unsqueeze(-2);  // (..., 1, E)
  if (is_training()) return local + GuidanceTerm(local) * torch::sign(guide.detach());
  return (1 + NormalizeL2(fc_1_->forward(local) * guide, /*dim=*/-2)) * local;
}

torch::Tensor GlobalLocalGuidanceCellImpl::GuidanceTerm(const torch::Tensor& local) {
  return local * NormalizeL2(fc_1_->forward(local), /*dim=*/-2);
}

}  // namespace dime
