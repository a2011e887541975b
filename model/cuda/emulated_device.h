#ifndef DIME_MODEL_CUDA_EMULATED_DEVICE_H_
#define DIME_MODEL_CUDA_EMULATED_DEVICE_H_

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/cuda/device_memory.h"
#include "model/cuda/emulator.h"
#include "model/cuda/simt.h"

namespace dime::cuda {

// The emulator as a Device (see device_memory.h): what it is told to do is done at once.
class EmulatedDevice {
 public:
  explicit EmulatedDevice(Emulator::Order order, int processors = 1)
      : order_(order), processors_(processors) {}

  absl::StatusOr<DeviceBytes> Allocate(size_t bytes) {
    return static_cast<DeviceBytes>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
  }
  void Free(DeviceBytes bytes) { std::free(bytes); }
  void Upload(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }
  void Download(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }
  void Zero(void* at, size_t bytes) { std::memset(at, 0, bytes); }
  template <class Kernel>
  void Launch(const Kernel& kernel, int x, int y, size_t shared_bytes) {
    Emulator::Launch(x, y, ThreadsOf<Kernel>(), shared_bytes, order_, [&kernel] { kernel(); });
  }
  template <class... Branch>
  void Fork(const Branch&... branches) {
    (branches(), ...);
  }
  template <class Record>
  void Repeat(int, const Record& record) {
    record();
  }
  std::vector<int> counts() const { return {}; }
  absl::Status Finish() { return absl::OkStatus(); }
  size_t max_shared_bytes() const { return size_t{227} << 10; }  // as an H100's
  int processors() const { return processors_; }

 private:
  const Emulator::Order order_;
  const int processors_;
};

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_EMULATED_DEVICE_H_
