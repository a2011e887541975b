#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/cuda/cuda_device.cuh"
#include "model/cuda/interaction_program.h"
#include "model/cuda/search_program.h"

namespace dime::cuda {
namespace {

// Pairs that go through the layers together: at least so many, and as many as fill the device's
// processors with whole tiles at a time, so that none waits for the last ones. Their state, some
// 130 KB each at the published sizes, should not leave the second-level cache far behind.
constexpr int kMinItems = 1024;
int MaxItems(int processors, int positions) {
  return RoundUp(kMinItems, processors * std::max(1, ItemsOfTile(kMaxTileRows, positions)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceKernel>> MakeCudaKernel(
    const kernels::InteractionShape& shape, const kernels::InteractionWeights& weights, int device,
    std::optional<TileProducts> products) {
  absl::StatusOr<std::unique_ptr<CudaDevice>> opened = CudaDevice::Open(device);
  if (!opened.ok()) return opened.status();
  const bool warpgroups = (*opened)->has_warpgroups();
  if (!warpgroups && products == TileProducts::kWarpgroups) {
    return absl::FailedPreconditionError(absl::StrCat(
        "CUDA device ", device, " has no warpgroups' products, or this build none for it"));
  }
  const int max_items = MaxItems((*opened)->processors(), shape.positions);
  return InteractionProgram<CudaDevice>::Create(
      *std::move(opened), shape, weights, max_items,
      products.value_or(warpgroups ? TileProducts::kWarpgroups : TileProducts::kWarps));
}

absl::StatusOr<std::unique_ptr<DeviceSearch>> MakeCudaSearch(absl::Span<const float> vectors,
                                                             int dim, int device) {
  absl::StatusOr<std::unique_ptr<CudaDevice>> opened = CudaDevice::Open(device);
  if (!opened.ok()) return opened.status();
  return SearchProgram<CudaDevice>::Create(*std::move(opened), vectors, dim);
}

}  // namespace dime::cuda
