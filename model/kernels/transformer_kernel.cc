#include "model/kernels/transformer_kernel.h"

#include "model/kernels/float_kernels.h"
#include "model/kernels/int8_kernels.h"

namespace dime::kernels {

std::unique_ptr<TransformerKernel> TransformerKernel::Create(const TransformerShape& shape,
                                                             const TransformerLayerWeights* layers,
                                                             Instructions instructions) {
#if defined(__x86_64__)
  switch (instructions) {
    case Instructions::kAmx:
      // Processors with tiles multiply words twice as fast as floats, too.
      if (IsSupported(Instructions::kAvx512Vnni)) {
        return CreateAvx512Int8TransformerKernel(shape, layers);
      }
      return CreateAvx512TransformerKernel(shape, layers);
    case Instructions::kAvx512Bf16:
    case Instructions::kAvx512:
      return CreateAvx512TransformerKernel(shape, layers);
    case Instructions::kAvx512Vnni:
      return CreateAvx512Int8TransformerKernel(shape, layers);
    case Instructions::kAvxVnni:
      return CreateAvxVnniTransformerKernel(shape, layers);
    case Instructions::kAvx2Int8:
      return CreateAvx2Int8TransformerKernel(shape, layers);
    case Instructions::kAvx2:
      return CreateAvx2TransformerKernel(shape, layers);
  }
#endif
  return nullptr;  // not reached: elsewhere nothing is supported
}

}  // namespace dime::kernels
