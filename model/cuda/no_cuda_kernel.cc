// In place of cuda_kernel.cu where there is no CUDA toolkit to build with.
#include "absl/status/status.h"
#include "model/cuda/device_kernel.h"
#include "model/cuda/device_search.h"

namespace dime::cuda {
namespace {

absl::Status NoCuda() {
  return absl::UnimplementedError("this build has no CUDA kernels: there was no nvcc");
}

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceKernel>> MakeCudaKernel(const kernels::InteractionShape&,
                                                             const kernels::InteractionWeights&,
                                                             int, std::optional<TileProducts>) {
  return NoCuda();
}

absl::StatusOr<std::unique_ptr<DeviceSearch>> MakeCudaSearch(absl::Span<const float>, int, int) {
  return NoCuda();
}

}  // namespace dime::cuda
