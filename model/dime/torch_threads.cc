#include "model/dime/torch_threads.h"

#include <ATen/Parallel.h>
#include <omp.h>

#ifndef _OPENMP
#error "this unit must be compiled for OpenMP"
#endif

// MKL's, of the calling thread; 0: as the process. Null in a LibTorch without MKL.
extern "C" int MKL_Set_Num_Threads_Local(int threads) __attribute__((weak));

namespace dime {
namespace {

int SetMklThreads(int threads) {
  return MKL_Set_Num_Threads_Local != nullptr ? MKL_Set_Num_Threads_Local(threads) : 0;
}

}  // namespace

// A thread's first question for LibTorch's number sets OpenMP's for it, hence before it is changed.
OneTorchThread::OneTorchThread() : open_mp_(at::get_num_threads()), mkl_(SetMklThreads(1)) {
  omp_set_num_threads(1);
}
OneTorchThread::~OneTorchThread() {
  omp_set_num_threads(open_mp_);
  SetMklThreads(mkl_);
}

void RunOnTorchThreads(int64_t count, absl::FunctionRef<void(int64_t)> task) {
  at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) task(i);
  });
}

}  // namespace dime
