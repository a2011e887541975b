// The float32 kernels compiled for AVX-512 (see CMakeLists.txt), entered only where the processor
// has it. Nothing here may instantiate inline functions of the standard library that other units
// share.
#include <memory>

#include "model/kernels/float_interaction_kernel.h"
#include "model/kernels/float_kernels.h"
#include "model/kernels/float_training_kernel.h"
#include "model/kernels/float_transformer_kernel.h"

namespace dime::kernels {

std::unique_ptr<InteractionKernel> CreateAvx512InteractionKernel(
    const InteractionShape& shape, const InteractionWeights& weights) {
  return std::unique_ptr<InteractionKernel>(
      new FloatInteractionKernel<FloatLinear>(shape, weights));
}
std::unique_ptr<TrainingKernel> CreateAvx512TrainingKernel(const InteractionShape& shape) {
  return std::unique_ptr<TrainingKernel>(new FloatTrainingKernel<FloatLinear>(shape));
}
std::unique_ptr<TransformerKernel> CreateAvx512TransformerKernel(
    const TransformerShape& shape, const TransformerLayerWeights* layers) {
  return std::unique_ptr<TransformerKernel>(new FloatTransformerKernel<FloatLinear>(shape, layers));
}

}  // namespace dime::kernels
