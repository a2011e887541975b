#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "model/cuda/emulator.h"
#include "model/cuda/interaction_program.h"

namespace dime::cuda {
namespace {

// The emulator as InteractionProgram takes a device: what it is told to do is done at once.
class EmulatedDevice {
 public:
  explicit EmulatedDevice(Emulator::Order order) : order_(order) {}

  absl::StatusOr<DeviceBytes> Allocate(size_t bytes) {
    return static_cast<DeviceBytes>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
  }
  void Free(DeviceBytes bytes) { std::free(bytes); }
  void Upload(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }
  void Download(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }
  void Zero(void* at, size_t bytes) { std::memset(at, 0, bytes); }
  template <class Kernel>
  void Launch(const Kernel& kernel, int x, int y, size_t shared_bytes) {
    Emulator::Launch(x, y, kThreads, shared_bytes, order_, [&kernel] { kernel(); });
  }
  template <class Record>
  void Repeat(int, const Record& record) {
    record();
  }
  std::vector<int> counts() const { return {}; }
  absl::Status Finish() { return absl::OkStatus(); }
  size_t max_shared_bytes() const { return size_t{227} << 10; }  // as an H100's

 private:
  const Emulator::Order order_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceKernel>> MakeEmulatedKernel(
    const kernels::InteractionShape& shape, const kernels::InteractionWeights& weights,
    bool descending, int max_items) {
  return InteractionProgram<EmulatedDevice>::Create(
      std::make_unique<EmulatedDevice>(descending ? Emulator::Order::kDescending
                                                  : Emulator::Order::kAscending),
      shape, weights, max_items);
}

}  // namespace dime::cuda
