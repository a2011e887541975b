#include "model/dime/routing_layer.h"

#include "absl/types/span.h"

namespace dime {
namespace {

// Gates below this leave a path without any input, and it takes the rectified identity instead.
constexpr double kShut = 1e-4;

// Cells whose outputs depend on the other side, in a layer's order.
constexpr int kGuidance = 1, kRefinement = 3;

std::vector<torch::Tensor> Broadcast(absl::Span<const torch::Tensor> tensors) {
  return torch::broadcast_tensors(std::vector<torch::Tensor>(tensors.begin(), tensors.end()));
}

// Weights (..., rows, n) over n sequences (..., M, E) -> (..., rows, M, E), as one product.
torch::Tensor MixSequences(const torch::Tensor& weights,
                           absl::Span<const torch::Tensor> sequences) {
  const torch::Tensor stacked = torch::stack(Broadcast(sequences), -3);  // (..., n, M, E)
  const torch::Tensor mixed = torch::matmul(weights, stacked.flatten(-2));
  return mixed.unflatten(-1, {stacked.size(-2), stacked.size(-1)});
}

}  // namespace

RoutingLayerImpl::RoutingLayerImpl(const InteractionOptions& options, int num_paths)
    : num_paths_(num_paths) {
  ric_ = register_module(kCellModules[0], RectifiedIdentityCell(options, num_paths));
  glgc_ = register_module(kCellModules[1], GlobalLocalGuidanceCell(options, num_paths));
  imrc_ = register_module(kCellModules[2], IntraModalReasoningCell(options, num_paths));
  cmrc_ = register_module(kCellModules[3], CrossModalRefinementCell(options, num_paths));
}

RoutingLayerImpl::Output RoutingLayerImpl::forward(const CellInputs& inputs,
                                                   const CrossModalInput& other) {
  const std::array<CellImpl*, kNumCells> cells = {ric_.get(), glgc_.get(), imrc_.get(),
                                                  cmrc_.get()};
  CellInputs outputs, gates;
  for (int j = 0; j < kNumCells; ++j) {
    outputs[j] = cells[j]->forward(inputs[j], other);
    gates[j] = cells[j]->Gate(inputs[j]);  // (..., paths)
  }
  return num_paths_ == 1 ? MixToOutput(inputs, outputs, gates) : MixToCells(outputs, gates);
}

RoutingLayerImpl::LocalPart RoutingLayerImpl::ForwardLocal(const torch::Tensor& local) {
  const CellShares shares =
      ShareOut({ric_->Gate(local), glgc_->Gate(local), imrc_->Gate(local), cmrc_->Gate(local)});
  const std::array<torch::Tensor, 3> outputs = {ric_->forward(local, {}), local,
                                                imrc_->forward(local, {})};
  return {.base = MixSequences(shares.weights.narrow(-1, 0, outputs.size()), outputs),
          .guided = glgc_->GuidanceTerm(local),
          .guided_share = shares.weights.select(-1, kGuidance),
          .refined_share = shares.weights.select(-1, kRefinement),
          .path_weights = shares.path_weights.flatten(-2)};
}

RoutingLayerImpl::CellShares RoutingLayerImpl::ShareOut(const CellInputs& gates) {
  const torch::Tensor gate = torch::stack(Broadcast(gates), -1);  // (..., paths, cells)
  const torch::Tensor sum = gate.sum(-1, /*keepdim=*/true);
  const torch::Tensor path_weights = gate / (sum + 1e-8);
  const torch::Tensor skip = (sum < kShut).to(gate.dtype());  // (..., paths, 1)
  // The skip path is cell 0's output: its weight joins that cell's column.
  return {.path_weights = path_weights,
          .weights = path_weights + torch::constant_pad_nd(skip, {0, kNumCells - 1})};
}

// out[i] = sum_j p[j][i] * cell_j + skip[i] * cell_0
RoutingLayerImpl::Output RoutingLayerImpl::MixToCells(const CellInputs& outputs,
                                                      const CellInputs& gates) {
  const CellShares shares = ShareOut(gates);
  return {.sequences = MixSequences(shares.weights, outputs).unbind(-3),
          .path_weights = shares.path_weights.flatten(-2)};
}

// Y = sum_j (q_j * cell_j + o_j * Z_j) / (sum_j o_j + sum_j q_j)
RoutingLayerImpl::Output RoutingLayerImpl::MixToOutput(const CellInputs& inputs,
                                                       const CellInputs& outputs,
                                                       const CellInputs& gates) {
  const torch::Tensor gate = torch::cat(Broadcast(gates), -1);             // (..., cells)
  const torch::Tensor shut = (gate < kShut / kNumCells).to(gate.dtype());  // o
  const torch::Tensor total = (shut + gate).sum(-1, /*keepdim=*/true);
  torch::Tensor mixed = MixSequences((gate / total).unsqueeze(-2), outputs).squeeze(-3);
  // On the CPU a look at the gates is cheaper than adding zeros; on a device it would stall it.
  if (is_training() || !shut.is_cpu() || shut.any().item<bool>()) {
    mixed = mixed + MixSequences((shut / total).unsqueeze(-2), inputs).squeeze(-3);
  }
  return {.sequences = {mixed}, .path_weights = gate};
}

}  // namespace dime
