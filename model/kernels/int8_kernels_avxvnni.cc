// The kernels that multiply bytes compiled for AVX-VNNI (see CMakeLists.txt), entered only where
// the processor has it. Nothing here may instantiate inline functions of the standard library that
// other units share.
#include <memory>

#include "model/kernels/float_interaction_kernel.h"
#include "model/kernels/float_transformer_kernel.h"
#include "model/kernels/int8_kernels.h"
#include "model/kernels/int8_linear.h"

namespace dime::kernels {

std::unique_ptr<InteractionKernel> CreateAvxVnniInteractionKernel(
    const InteractionShape& shape, const InteractionWeights& weights) {
  return std::unique_ptr<InteractionKernel>(new FloatInteractionKernel<Int8Linear>(shape, weights));
}
std::unique_ptr<TransformerKernel> CreateAvxVnniTransformerKernel(
    const TransformerShape& shape, const TransformerLayerWeights* layers) {
  return std::unique_ptr<TransformerKernel>(new FloatTransformerKernel<Int8Linear>(shape, layers));
}

}  // namespace dime::kernels
