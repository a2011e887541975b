#include <memory>

#include "model/cuda/emulated_device.h"
#include "model/cuda/interaction_program.h"
#include "model/cuda/search_program.h"

namespace dime::cuda {
namespace {

std::unique_ptr<EmulatedDevice> MakeDevice(bool descending, int processors) {
  return std::make_unique<EmulatedDevice>(
      descending ? Emulator::Order::kDescending : Emulator::Order::kAscending, processors);
}

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceKernel>> MakeEmulatedKernel(
    const kernels::InteractionShape& shape, const kernels::InteractionWeights& weights,
    const EmulatorOptions& options) {
  return InteractionProgram<EmulatedDevice>::Create(
      MakeDevice(options.descending, options.processors), shape, weights, options.max_items,
      options.products);
}

absl::StatusOr<std::unique_ptr<DeviceSearch>> MakeEmulatedSearch(absl::Span<const float> vectors,
                                                                 int dim, bool descending) {
  return SearchProgram<EmulatedDevice>::Create(MakeDevice(descending, /*processors=*/1), vectors,
                                               dim);
}

}  // namespace dime::cuda
