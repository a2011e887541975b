// In the place of model/kernels/processor.cc: what emulated/immintrin.h makes of AVX2.
#include "model/kernels/processor.h"

namespace dime::kernels {

bool ProcessorHas(Instructions) {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

bool DoublesBf16() { return false; }

}  // namespace dime::kernels
