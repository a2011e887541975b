#include "model/dime/kernel_factory.h"

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "index/status_macros.h"
#include "model/dime/interaction_weights_reader.h"
#include "model/dime_model.h"

namespace dime {

absl::StatusOr<ScorerChoice> ChooseScorer(const std::string& scorer, const torch::Device& device) {
  using kernels::Instructions;
  ScorerChoice chosen;
  if (scorer == "modules") return chosen;
  if (scorer == "cuda") {
    if (device.is_cuda()) {
      chosen.cuda = true;
      return chosen;
    }
    return absl::FailedPreconditionError(
        "scorer cuda needs a CUDA device (--device cuda); take auto or modules");
  }
  for (const Instructions instructions : kernels::PreferredInstructions()) {
    const bool usable = device.is_cpu() && kernels::IsSupported(instructions);
    if (scorer == "auto" && usable) {
      chosen.instructions = instructions;
      return chosen;
    }
    if (scorer != kernels::InstructionsName(instructions)) continue;
    if (!usable) {
      return absl::FailedPreconditionError(absl::StrCat(
          "scorer ", scorer, " needs ",
          device.is_cpu()
              ? "instructions that this processor or its operating system does not offer"
              : "device cpu",
          "; take auto or modules"));
    }
    chosen.instructions = instructions;
    return chosen;
  }
  if (scorer == "auto") return chosen;
  return absl::InvalidArgumentError(absl::StrCat(
      "scorer must be one of ", absl::StrJoin(kScorerNames, ", "), "; got \"", scorer, "\""));
}

std::unique_ptr<KernelScorer> MakeKernelScorer(const Network& network,
                                               kernels::Instructions instructions,
                                               std::shared_ptr<ThreadTeam> team) {
  const ModelInfo info = network.Describe();
  KernelScorer::Kernels kernels;
  for (Direction direction : kDirections) {
    if (!network.Has(direction)) continue;
    const InteractionWeightsReader read(network.direction(direction), info.num_regions,
                                        info.max_words);
    kernels[static_cast<int>(direction)] =
        kernels::InteractionKernel::Create(read.shape, read.weights, instructions);
  }
  return std::make_unique<KernelScorer>(std::move(kernels), info,
                                        KernelScorer::Options{.team = std::move(team)});
}

absl::StatusOr<std::unique_ptr<CudaScorer>> MakeCudaScorer(const Network& network,
                                                           const torch::Device& device) {
  const ModelInfo info = network.Describe();
  CudaScorer::Kernels kernels;
  for (Direction direction : kDirections) {
    if (!network.Has(direction)) continue;
    const InteractionWeightsReader read(network.direction(direction), info.num_regions,
                                        info.max_words);
    ASSIGN_OR_RETURN(kernels[static_cast<int>(direction)],
                     cuda::MakeCudaKernel(read.shape, read.weights, device.index()));
  }
  return std::make_unique<CudaScorer>(std::move(kernels), info);
}

}  // namespace dime
