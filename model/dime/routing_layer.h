#ifndef DIME_MODEL_DIME_ROUTING_LAYER_H_
#define DIME_MODEL_DIME_ROUTING_LAYER_H_

#include <torch/torch.h>

#include <array>
#include <vector>

#include "model/dime/cell.h"
#include "model/dime/cross_modal_refinement_cell.h"
#include "model/dime/global_local_guidance_cell.h"
#include "model/dime/intra_modal_reasoning_cell.h"
#include "model/dime/rectified_identity_cell.h"
#include "model/model_info.h"

namespace dime {

// A layer's submodules, in the order of its cells.
inline constexpr std::array<const char*, kNumCells> kCellModules = {"ric", "glgc", "imrc", "cmrc"};

using CellInputs = std::array<torch::Tensor, kNumCells>;  // one local sequence a cell

// The four cells of one layer, in the order RIC, GLGC, IMRC, CMRC, and how their outputs are mixed
// along the paths to the next layer's cells, or, in the last layer, to the one output
// (dime-model.md, 4). Thread-safe in evaluation mode.
class RoutingLayerImpl : public torch::nn::Module {
 public:
  struct Output {
    std::vector<torch::Tensor> sequences;  // (..., M, E) for each path
    torch::Tensor path_weights;            // (..., paths * 4), index path * 4 + cell
  };

  // What the layer makes of a local sequence that all of its cells take, as layer 0's do, without
  // the other side: path i of the output is base[i] + guided_share[i] * sign(guide) * guided +
  // refined_share[i] * CMRC's output.
  struct LocalPart {
    torch::Tensor base;           // (..., paths, M, E)
    torch::Tensor guided;         // (..., M, E)
    torch::Tensor guided_share;   // (..., paths)
    torch::Tensor refined_share;  // (..., paths)
    torch::Tensor path_weights;   // (..., paths * 4)
  };

  // `num_paths`: kNumCells for layers 0 and 1, 1 for layer 2.
  RoutingLayerImpl(const InteractionOptions& options, int num_paths);

  // `inputs[j]` is cell j's local sequence (..., M, E).
  Output forward(const CellInputs& inputs, const CrossModalInput& other);
  LocalPart ForwardLocal(const torch::Tensor& local);  // of a layer with kNumCells paths
  // (..., M, C): what the cross-modal refinement cell attends to within forward(), computed anew so
  // that forward() need not keep it.
  torch::Tensor Attention(const CellInputs& inputs, const CrossModalInput& other) const {
    return cmrc_->Attention(inputs[kNumCells - 1], other);
  }

 private:
  // Gates along the paths to the next layer's cells as p and as the cells' weights in the mixture.
  struct CellShares {
    torch::Tensor path_weights;  // (..., paths, cells)
    torch::Tensor weights;       // the same with the skip
  };
  static CellShares ShareOut(const CellInputs& gates);
  Output MixToCells(const CellInputs& outputs, const CellInputs& gates);
  Output MixToOutput(const CellInputs& inputs, const CellInputs& outputs, const CellInputs& gates);

  const int num_paths_;
  RectifiedIdentityCell ric_{nullptr};
  GlobalLocalGuidanceCell glgc_{nullptr};
  IntraModalReasoningCell imrc_{nullptr};
  CrossModalRefinementCell cmrc_{nullptr};
};
TORCH_MODULE(RoutingLayer);

}  // namespace dime

#endif  // DIME_MODEL_DIME_ROUTING_LAYER_H_
