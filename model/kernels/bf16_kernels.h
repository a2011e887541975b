#ifndef DIME_MODEL_KERNELS_BF16_KERNELS_H_
#define DIME_MODEL_KERNELS_BF16_KERNELS_H_

#include <memory>

#include "model/kernels/interaction_kernel.h"
#include "model/kernels/training_kernel.h"

// The kernels that multiply in bfloat16: interaction_kernel_bf16.cc and training_kernel_bf16.cc.
// `instructions` must multiply so, and the processor must have them.
namespace dime::kernels {

std::unique_ptr<InteractionKernel> CreateBf16InteractionKernel(const InteractionShape& shape,
                                                               const InteractionWeights& weights,
                                                               Instructions instructions);
std::unique_ptr<TrainingKernel> CreateBf16TrainingKernel(const InteractionShape& shape,
                                                         Instructions instructions);

}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_BF16_KERNELS_H_
