#include "model/dime/kernel_factory.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "model/dime/interaction_weights_reader.h"

namespace dime {

absl::StatusOr<std::optional<kernels::Instructions>> ChooseInstructions(
    const std::string& scorer, const torch::Device& device) {
  using kernels::Instructions;
  std::optional<Instructions> chosen;
  if (scorer == "modules") return chosen;
  for (Instructions instructions : {Instructions::kAmx, Instructions::kAvx512Bf16}) {
    const bool usable = device.is_cpu() && kernels::IsSupported(instructions);
    if (scorer == "auto" && usable) {
      chosen = instructions;
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
    chosen = instructions;
    return chosen;
  }
  if (scorer == "auto") return chosen;
  return absl::InvalidArgumentError(
      absl::StrCat("scorer must be auto, modules, amx or avx512_bf16, got \"", scorer, "\""));
}

std::unique_ptr<KernelScorer> MakeKernelScorer(const Network& network,
                                               kernels::Instructions instructions, int threads) {
  const ModelInfo info = network.Describe();
  KernelScorer::Kernels kernels;
  for (Direction direction : kDirections) {
    if (!network.Has(direction)) continue;
    InteractionWeightsReader reader(network.direction(direction));
    const bool refines_regions = direction == Direction::kI2t;
    reader.shape.positions = refines_regions ? info.num_regions : info.max_words;
    reader.shape.max_context = refines_regions ? info.max_words : info.num_regions;
    kernels[static_cast<int>(direction)] =
        kernels::InteractionKernel::Create(reader.shape, reader.weights, instructions);
  }
  return std::make_unique<KernelScorer>(std::move(kernels), info,
                                        KernelScorer::Options{.threads = threads});
}

}  // namespace dime
