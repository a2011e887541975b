#ifndef DIME_MODEL_DIME_TORCH_THREADS_H_
#define DIME_MODEL_DIME_TORCH_THREADS_H_

#include <cstdint>

#include "absl/functional/function_ref.h"

namespace dime {

// Calls task(i) for each i of [0, count), from as many of LibTorch's own threads as it uses, and
// returns when all are done. Threads of another team would take cores from those, which spin for a
// while after each of LibTorch's operations: such operations were seen to take four times as long.
// In a unit of its own because at::parallel_for() has threads only in what is compiled for OpenMP.
void RunOnTorchThreads(int64_t count, absl::FunctionRef<void(int64_t)> task);

// While it lives, LibTorch's operations in this thread keep to it, and leave no other thread
// spinning.
class OneTorchThread {
 public:
  OneTorchThread();
  ~OneTorchThread();
  OneTorchThread(const OneTorchThread&) = delete;
  OneTorchThread& operator=(const OneTorchThread&) = delete;

 private:
  const int open_mp_, mkl_;  // numbers of threads before
};

}  // namespace dime

#endif  // DIME_MODEL_DIME_TORCH_THREADS_H_
