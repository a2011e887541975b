#ifndef DIME_MODEL_CUDA_EMULATOR_H_
#define DIME_MODEL_CUDA_EMULATOR_H_

#include <cstddef>
#include <cstdint>

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

  static Order order();
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
  // The same of a warpgroup's 128 threads.
  static void WithWarpgroup(void* mine, absl::FunctionRef<void(void* const* lanes)> together);
  // Returns once so many threads of the block wait here, always the same ones.
  static void SyncThreads(int threads);

  // Barriers that lie in memory, and copies that arrive at them: see warpgroup.h. A copy is done
  // only when a thread waits for it where threads run in ascending order, and else at once: the
  // other way round than products, so that either shows if it is not waited for.
  static void InitBarrier(uint64_t* barrier, int arrivals);
  static void Arrive(uint64_t* barrier);
  static void WaitForPhase(uint64_t* barrier, uint32_t parity);
  static void CopyAndArrive(void* to, const void* from, int bytes, uint64_t* barrier);

  // A warpgroup's products read beside its threads: what a thread stored is there for them once it
  // was published and the threads have met. ThreadSanitizer is told so; else these do nothing.
  static void PublishToProducts();
  static void ReadByProducts(const void* from);  // 16 bytes
  static void ProductsAreDone();
};

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_EMULATOR_H_
