#ifndef DIME_MODEL_KERNELS_FLOAT_KERNELS_H_
#define DIME_MODEL_KERNELS_FLOAT_KERNELS_H_

#include <memory>

#include "model/kernels/interaction_kernel.h"
#include "model/kernels/training_kernel.h"
#include "model/kernels/transformer_kernel.h"

// The float32 kernels, once for each set of instructions: float_kernels_avx2.cc, and
// float_kernels_avx512.cc. The processor must have the instructions.
namespace dime::kernels {

std::unique_ptr<InteractionKernel> CreateAvx2InteractionKernel(const InteractionShape& shape,
                                                               const InteractionWeights& weights);
std::unique_ptr<TrainingKernel> CreateAvx2TrainingKernel(const InteractionShape& shape);
std::unique_ptr<TransformerKernel> CreateAvx2TransformerKernel(
    const TransformerShape& shape, const TransformerLayerWeights* layers);

std::unique_ptr<InteractionKernel> CreateAvx512InteractionKernel(const InteractionShape& shape,
                                                                 const InteractionWeights& weights);
std::unique_ptr<TrainingKernel> CreateAvx512TrainingKernel(const InteractionShape& shape);
std::unique_ptr<TransformerKernel> CreateAvx512TransformerKernel(
    const TransformerShape& shape, const TransformerLayerWeights* layers);

}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_FLOAT_KERNELS_H_
