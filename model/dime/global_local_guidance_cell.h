#ifndef DIME_MODEL_DIME_GLOBAL_LOCAL_GUIDANCE_CELL_H_
#define DIME_MODEL_DIME_GLOBAL_LOCAL_GUIDANCE_CELL_H_

#include "model/dime/cell.h"

namespace dime {

// GLGC: the other side's global vector s decides which positions are stressed in each channel:
// u = normalize(fc_1(Z) * s) along M for each channel, result (1 + u) * Z (dime-model.md, 3).
//
// While training, normalize(fc_1(Z) * s) is computed as sign(s) * normalize(fc_1(Z)): the same
// function except where |s| is so small that the clamp of 1e-12 bites, with gradients that stay
// finite there. The gradient by s, zero in exact arithmetic, is then exactly zero.
class GlobalLocalGuidanceCellImpl : public CellImpl {
 public:
  GlobalLocalGuidanceCellImpl(const InteractionOptions& options, int num_paths);
  torch::Tensor forward(const torch::Tensor& local, const CrossModalInput& other) override;
  // Z * normalize(fc_1(Z)), what the guide's sign turns; (..., M, E), of one side alone.
  torch::Tensor GuidanceTerm(const torch::Tensor& local);

 private:
  torch::nn::Linear fc_1_{nullptr};
  torch::nn::Linear fc_2_{nullptr};  // in the checkpoints, but takes no part
};
TORCH_MODULE(GlobalLocalGuidanceCell);

}  // namespace dime

#endif  // DIME_MODEL_DIME_GLOBAL_LOCAL_GUIDANCE_CELL_H_
