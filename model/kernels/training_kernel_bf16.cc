// TrainingKernel with linear layers in bfloat16, compiled for AVX-512 with bfloat16 and AMX (see
// CMakeLists.txt), entered only where IsSupported(). Nothing here may instantiate inline functions
// of the standard library that other units share.
#include <memory>

#include "model/kernels/bf16_kernels.h"
#include "model/kernels/bf16_linear.h"
#include "model/kernels/float_training_kernel.h"
#include "model/kernels/tile_product.h"

namespace dime::kernels {

std::unique_ptr<TrainingKernel> CreateBf16TrainingKernel(const InteractionShape& shape,
                                                         Instructions instructions) {
  if (instructions == Instructions::kAmx) {
    return std::unique_ptr<TrainingKernel>(new FloatTrainingKernel<Bf16Linear<Amx>>(shape));
  }
  return std::unique_ptr<TrainingKernel>(new FloatTrainingKernel<Bf16Linear<Avx512Bf16>>(shape));
}

}  // namespace dime::kernels
