#ifndef DIME_MODEL_DIME_KERNEL_FACTORY_H_
#define DIME_MODEL_DIME_KERNEL_FACTORY_H_

#include <torch/torch.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "model/cuda/cuda_scorer.h"
#include "model/dime/network.h"
#include "model/kernel_scorer.h"
#include "model/thread_team.h"

namespace dime {

// What scores pairs: the modules, unless one of the others is set.
struct ScorerChoice {
  std::optional<kernels::Instructions> instructions;  // the CPU's kernels
  bool cuda = false;                                  // the kernels of model/cuda
};

// What DimeModel::Options::scorer asks for on a device. INVALID_ARGUMENT for an unknown name,
// FAILED_PRECONDITION for what the processor or the device does not offer.
absl::StatusOr<ScorerChoice> ChooseScorer(const std::string& scorer, const torch::Device& device);

// A scorer by kernels of the network's present weights, which must be on the CPU; later training
// does not show. `team`: see KernelScorer::Options.
std::unique_ptr<KernelScorer> MakeKernelScorer(const Network& network,
                                               kernels::Instructions instructions,
                                               std::shared_ptr<ThreadTeam> team);

// The same on a CUDA device. The errors of MakeCudaKernel().
absl::StatusOr<std::unique_ptr<CudaScorer>> MakeCudaScorer(const Network& network,
                                                           const torch::Device& device);

}  // namespace dime

#endif  // DIME_MODEL_DIME_KERNEL_FACTORY_H_
