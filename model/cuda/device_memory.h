#ifndef DIME_MODEL_CUDA_DEVICE_MEMORY_H_
#define DIME_MODEL_CUDA_DEVICE_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "index/status_macros.h"

namespace dime::cuda {

// Memory on a device, by its address there.
using DeviceBytes = unsigned char*;

// A Device, for the programs that are written for one (InteractionProgram, SearchProgram), has
// memory and launches kernels, one after another:
//   absl::StatusOr<DeviceBytes> Allocate(size_t bytes);  // 256-byte aligned
//   void Free(DeviceBytes bytes);
//   void Upload(void* to, const void* from, size_t bytes);    // of the host's memory as it is now
//   void Download(void* to, const void* from, size_t bytes);  // there after Finish()
//   void Zero(void* at, size_t bytes);
//   template <class Kernel> void Launch(const Kernel& kernel, int x, int y, size_t shared_bytes);
//   template <class... Branch> void Fork(const Branch&... branches);
//       // the launches that each branch() makes may run beside the others'; up to 3
//   template <class Record> void Repeat(int key, const Record& record);
//       // runs the launches that record() makes, which for one key are always the same
//   std::vector<int> counts();  // whose launches may serve smaller ones, ascending; none if any
//                               // count may be launched
//   absl::Status Finish();      // waits for all of that; an error of any of it
//   size_t max_shared_bytes();  // of a block
//   int processors();           // that run blocks at the same time
// A Kernel says in kThreads how many threads a block has, if not kBlockThreads.
// One thread at a time, but for Allocate() and Free().

// Arrays on a device that live as long as this does. The device must outlive it.
template <class Device>
class DeviceMemory {
 public:
  explicit DeviceMemory(Device* device) : device_(device) {}
  ~DeviceMemory() {
    for (const DeviceBytes bytes : allocated_) device_->Free(bytes);
  }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  // Zeros: what lies beyond a matrix's edge must be finite.
  template <class T>
  absl::StatusOr<T*> Allocate(int64_t count) {
    const size_t bytes = (static_cast<size_t>(count) * sizeof(T) + 255) / 256 * 256;
    ASSIGN_OR_RETURN(const DeviceBytes array, device_->Allocate(bytes));
    allocated_.push_back(array);
    device_->Zero(array, bytes);
    return reinterpret_cast<T*>(array);
  }
  template <class T>
  absl::StatusOr<const T*> Upload(const std::vector<T>& values) {
    ASSIGN_OR_RETURN(T* const array, Allocate<T>(static_cast<int64_t>(values.size())));
    device_->Upload(array, values.data(), values.size() * sizeof(T));
    RETURN_IF_ERROR(device_->Finish());
    return array;
  }

 private:
  Device* const device_;
  std::vector<DeviceBytes> allocated_;
};

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_DEVICE_MEMORY_H_
