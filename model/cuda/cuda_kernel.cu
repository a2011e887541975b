#include <memory>
#include <utility>

#include "model/cuda/cuda_device.cuh"
#include "model/cuda/interaction_program.h"
#include "model/cuda/search_program.h"

namespace dime::cuda {
namespace {

// Pairs that go through the layers together: their state, some 400 KB each at the published sizes,
// should fill the device's cores without leaving its second-level cache far behind.
constexpr int kMaxItems = 1024;

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceKernel>> MakeCudaKernel(
    const kernels::InteractionShape& shape, const kernels::InteractionWeights& weights,
    int device) {
  absl::StatusOr<std::unique_ptr<CudaDevice>> opened = CudaDevice::Open(device);
  if (!opened.ok()) return opened.status();
  return InteractionProgram<CudaDevice>::Create(*std::move(opened), shape, weights, kMaxItems);
}

absl::StatusOr<std::unique_ptr<DeviceSearch>> MakeCudaSearch(absl::Span<const float> vectors,
                                                             int dim, int device) {
  absl::StatusOr<std::unique_ptr<CudaDevice>> opened = CudaDevice::Open(device);
  if (!opened.ok()) return opened.status();
  return SearchProgram<CudaDevice>::Create(*std::move(opened), vectors, dim);
}

}  // namespace dime::cuda
