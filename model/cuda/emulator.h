#ifndef DIME_MODEL_CUDA_EMULATOR_H_
#define DIME_MODEL_CUDA_EMULATOR_H_

#include <cstddef>

#include "absl/functional/function_ref.h"

namespace dime::cuda {

// Runs kernels as a CUDA device would, one block after another, on the calling thread, so that they
// can be tested without a device. Each of a block's threads is a fiber that runs until it waits for
// others. In which order they run is the caller's choice: a kernel that lacks a barrier gives
// another result in one order or the other. In a build with ThreadSanitizer, that is told what a
// device's threads may rely on, so that it finds the races that they would have: within a warp,
// between warps, and between blocks up to 32 apart. What the fibers do together is called from
// within a kernel alone. Thread-safe: each of the host's threads has its own.
class Emulator {
 public:
  enum class Order { kAscending, kDescending };

  // Runs `kernel` once for each thread of each block; `threads` a multiple of 32. Shared memory is
  // filled with NaNs at first, which a device's may hold as well.
  static void Launch(int blocks_x, int blocks_y, int threads, size_t shared_bytes, Order order,
                     absl::FunctionRef<void()> kernel);

  static int thread();
  static int block_x();
  static int block_y();
  static unsigned char* shared_memory();
  // Returns once all threads of the block that have not ended wait here.
  static void SyncBlock();
  // The same of the warp's 32.
  static void SyncWarp();
  // Returns once all 32 threads of the warp wait here, and `together` was called, by the last of
  // them, with what each gave: lanes[i] is lane i's `mine`. That orders nothing else: as on a
  // device, what one lane wrote another may not read for having met.
  static void WithWarp(void* mine, absl::FunctionRef<void(void* const* lanes)> together);
};

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_EMULATOR_H_
