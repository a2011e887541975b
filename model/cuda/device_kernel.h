#ifndef DIME_MODEL_CUDA_DEVICE_KERNEL_H_
#define DIME_MODEL_CUDA_DEVICE_KERNEL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/cuda/device_memory.h"
#include "model/kernels/interaction_kernel.h"
#include "model/kernels/interaction_weights.h"

namespace dime::cuda {

// Some items of one kind on the host, as a DeviceKernel takes them: as long as the call.
struct HostItems {
  int count = 0;
  int positions = 0;                 // rows of each, in `local`
  const float* local = nullptr;      // (count, positions, embed_size)
  const float* global = nullptr;     // (count, embed_size); of a context
  const int32_t* lengths = nullptr;  // (count): the rows that are valid; of a context
};

// DIME's interaction and score (dime-model.md, 3 to 5) of one direction on a device, in bfloat16
// products that add up in float32. The plan is InteractionKernel's: what depends on one side alone
// is done once, into a block of the device's memory for each item; pairs then go through the layers
// together, and a cell is run for the pairs whose gates open it. A pair's score is the same bits
// whatever else is in a call.
// One call at a time, but for Allocate() and Free(). Errors are the device's (INTERNAL), or
// RESOURCE_EXHAUSTED where its memory does not suffice.
class DeviceKernel {
 public:
  virtual ~DeviceKernel() = default;

  // Bytes of an item's block: as the local side, or as a context.
  virtual size_t local_bytes() const = 0;
  virtual size_t context_bytes() const = 0;
  // Most items or pairs of one call.
  virtual int max_items() const = 0;

  virtual absl::StatusOr<DeviceBytes> Allocate(size_t bytes) = 0;
  virtual void Free(DeviceBytes bytes) = 0;

  // Fills the blocks of items, 256-byte aligned: blocks[i] is item i's.
  virtual absl::Status PrepareLocals(const HostItems& items,
                                     absl::Span<const DeviceBytes> blocks) = 0;
  virtual absl::Status PrepareContexts(const HostItems& items,
                                       absl::Span<const DeviceBytes> blocks) = 0;

  // Pair i is of locals[i] and contexts[i]. Gives which cells were run. `scores`: (count). `paths`:
  // (count, 36), or empty.
  virtual absl::StatusOr<kernels::CellCounts> Score(absl::Span<const DeviceBytes> locals,
                                                    absl::Span<const DeviceBytes> contexts,
                                                    absl::Span<float> scores,
                                                    absl::Span<float> paths) = 0;
};

// What multiplies by weights (tile_products.h): warps, on any device, or warpgroups, on Hopper's.
enum class TileProducts { kWarps, kWarpgroups };

// On CUDA device `device` (from 0), by warpgroups where it has them unless something else is asked
// for. UNIMPLEMENTED in a build without the CUDA toolkit, or for sizes that do not fit a block's
// shared memory; FAILED_PRECONDITION if there is no such device, or it has no warpgroups that are
// asked for.
absl::StatusOr<std::unique_ptr<DeviceKernel>> MakeCudaKernel(
    const kernels::InteractionShape& shape, const kernels::InteractionWeights& weights, int device,
    std::optional<TileProducts> products = std::nullopt);

struct EmulatorOptions {
  bool descending = false;  // see Emulator::Order
  int max_items = 1024;
  TileProducts products = TileProducts::kWarps;
  int processors = 1;  // of the device: the more, the smaller are the tiles
};

// On the emulator, for tests. UNIMPLEMENTED as above.
absl::StatusOr<std::unique_ptr<DeviceKernel>> MakeEmulatedKernel(
    const kernels::InteractionShape& shape, const kernels::InteractionWeights& weights,
    const EmulatorOptions& options);

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_DEVICE_KERNEL_H_
