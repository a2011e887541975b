#include <memory>

#include "model/cuda/emulated_device.h"
#include "model/cuda/interaction_program.h"
#include "model/cuda/search_program.h"

namespace dime::cuda {
namespace {

std::unique_ptr<EmulatedDevice> MakeDevice(bool descending) {
  return std::make_unique<EmulatedDevice>(descending ? Emulator::Order::kDescending
                                                     : Emulator::Order::kAscending);
}

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceKernel>> MakeEmulatedKernel(
    const kernels::InteractionShape& shape, const kernels::InteractionWeights& weights,
    bool descending, int max_items) {
  return InteractionProgram<EmulatedDevice>::Create(MakeDevice(descending), shape, weights,
                                                    max_items);
}

absl::StatusOr<std::unique_ptr<DeviceSearch>> MakeEmulatedSearch(absl::Span<const float> vectors,
                                                                 int dim, bool descending) {
  return SearchProgram<EmulatedDevice>::Create(MakeDevice(descending), vectors, dim);
}

}  // namespace dime::cuda
