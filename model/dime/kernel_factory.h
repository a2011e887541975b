#ifndef DIME_MODEL_DIME_KERNEL_FACTORY_H_
#define DIME_MODEL_DIME_KERNEL_FACTORY_H_

#include <torch/torch.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "model/dime/network.h"
#include "model/kernel_scorer.h"

namespace dime {

// What DimeModel::Options::scorer asks for on a device: the kernels' instructions, or none for the
// modules. INVALID_ARGUMENT for an unknown name, FAILED_PRECONDITION for instructions that the
// processor or the device does not offer.
absl::StatusOr<std::optional<kernels::Instructions>> ChooseInstructions(
    const std::string& scorer, const torch::Device& device);

// A scorer by kernels of the network's present weights, which must be on the CPU; later training
// does not show. `threads`: see KernelScorer::Options.
std::unique_ptr<KernelScorer> MakeKernelScorer(const Network& network,
                                               kernels::Instructions instructions, int threads);

}  // namespace dime

#endif  // DIME_MODEL_DIME_KERNEL_FACTORY_H_
