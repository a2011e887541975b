// In place of cuda_kernel.cu where there is no CUDA toolkit to build with.
#include "absl/status/status.h"
#include "model/cuda/device_kernel.h"

namespace dime::cuda {

absl::StatusOr<std::unique_ptr<DeviceKernel>> MakeCudaKernel(const kernels::InteractionShape&,
                                                             const kernels::InteractionWeights&,
                                                             int) {
  return absl::UnimplementedError("this build has no CUDA kernels: there was no nvcc");
}

}  // namespace dime::cuda
