#ifndef DIME_MODEL_KERNELS_INT8_KERNELS_H_
#define DIME_MODEL_KERNELS_INT8_KERNELS_H_

#include <memory>

#include "model/kernels/interaction_kernel.h"
#include "model/kernels/transformer_kernel.h"

// The kernels that multiply bytes, once for each set of instructions: int8_kernels_avx2.cc,
// int8_kernels_avxvnni.cc, and int8_kernels_avx512.cc for AVX512-VNNI. The processor must have the
// instructions.
namespace dime::kernels {

std::unique_ptr<InteractionKernel> CreateAvx2Int8InteractionKernel(
    const InteractionShape& shape, const InteractionWeights& weights);
std::unique_ptr<TransformerKernel> CreateAvx2Int8TransformerKernel(
    const TransformerShape& shape, const TransformerLayerWeights* layers);
std::unique_ptr<InteractionKernel> CreateAvxVnniInteractionKernel(
    const InteractionShape& shape, const InteractionWeights& weights);
std::unique_ptr<TransformerKernel> CreateAvxVnniTransformerKernel(
    const TransformerShape& shape, const TransformerLayerWeights* layers);
std::unique_ptr<InteractionKernel> CreateAvx512Int8InteractionKernel(
    const InteractionShape& shape, const InteractionWeights& weights);
std::unique_ptr<TransformerKernel> CreateAvx512Int8TransformerKernel(
    const TransformerShape& shape, const TransformerLayerWeights* layers);

}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_INT8_KERNELS_H_
