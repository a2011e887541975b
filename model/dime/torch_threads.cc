#include "model/dime/torch_threads.h"

#include <ATen/Parallel.h>

#ifndef _OPENMP
#error "this unit must be compiled for OpenMP"
#endif

namespace dime {

void RunOnTorchThreads(int64_t count, absl::FunctionRef<void(int64_t)> task) {
  at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) task(i);
  });
}

}  // namespace dime
