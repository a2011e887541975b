#include "model/kernels/interaction_kernel.h"

#include "model/kernels/bf16_kernels.h"
#include "model/kernels/float_kernels.h"
#include "model/kernels/int8_kernels.h"

namespace dime::kernels {

std::unique_ptr<InteractionKernel> InteractionKernel::Create(const InteractionShape& shape,
                                                             const InteractionWeights& weights,
                                                             Instructions instructions) {
#if defined(__x86_64__)
  switch (instructions) {
    case Instructions::kAmx:
    case Instructions::kAvx512Bf16:
      return CreateBf16InteractionKernel(shape, weights, instructions);
    case Instructions::kAvx512Vnni:
      return CreateAvx512Int8InteractionKernel(shape, weights);
    case Instructions::kAvxVnni:
      return CreateAvxVnniInteractionKernel(shape, weights);
    case Instructions::kAvx2Int8:
      return CreateAvx2Int8InteractionKernel(shape, weights);
    case Instructions::kAvx512:
      return CreateAvx512InteractionKernel(shape, weights);
    case Instructions::kAvx2:
      return CreateAvx2InteractionKernel(shape, weights);
  }
#endif
  return nullptr;  // not reached: elsewhere nothing is supported
}

}  // namespace dime::kernels
