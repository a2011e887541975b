#include "model/kernels/training_kernel.h"

#include "model/kernels/bf16_kernels.h"
#include "model/kernels/float_kernels.h"

namespace dime::kernels {

TrainingLayout::TrainingLayout(const InteractionShape& shape) {
  const int width = shape.embed_size;
  const auto place = [this](int in, int out) {
    TrainingSlot slot{.weight = size, .bias = size + int64_t{out} * in, .in = in, .out = out};
    size = slot.bias + out;
    return slot;
  };
  for (int n = 0; n < 3; ++n) {
    Layer& layer = layers[n];
    if (n > 0) {
      for (int j = 0; j < 4; ++j) {
        layer.router_hidden[j] = place(width, shape.router_size);
        layer.router_output[j] = place(shape.router_size, n == 1 ? 4 : 1);
      }
      layer.guidance = place(width, width);
      layer.attention = place(width, 3 * width);
      layer.feed_in = place(width, shape.feed_forward_size);
      layer.feed_out = place(shape.feed_forward_size, width);
    }
    layer.refine_in = place(width, width);
    layer.refine_out = place(width, width);
  }
}

std::unique_ptr<TrainingKernel> TrainingKernel::Create(const InteractionShape& shape,
                                                       Instructions instructions) {
#if defined(__x86_64__)
  switch (instructions) {
    case Instructions::kAmx:
    case Instructions::kAvx512Bf16:
      return CreateBf16TrainingKernel(shape, instructions);
    case Instructions::kAvx512Vnni:
    case Instructions::kAvxVnni:
    case Instructions::kAvx2Int8:
      break;  // not trained with
    case Instructions::kAvx512:
      return CreateAvx512TrainingKernel(shape);
    case Instructions::kAvx2:
      return CreateAvx2TrainingKernel(shape);
  }
#endif
  return nullptr;
}

}  // namespace dime::kernels
