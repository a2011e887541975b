#ifndef DIME_MODEL_KERNELS_FLOAT_TRAINING_STEP_H_
#define DIME_MODEL_KERNELS_FLOAT_TRAINING_STEP_H_

#include <cstdint>

#include "model/kernels/array.h"
#include "model/kernels/float_forward.h"
#include "model/kernels/float_product.h"
#include "model/kernels/float_rows.h"
#include "model/kernels/training_kernel.h"

// TrainingKernel::Step. For the units that float_vector.h is for; in an unnamed namespace for the
// same reason.
namespace dime::kernels {
namespace {

constexpr int kProjections = 2 * kLayers;               // of a context
constexpr int kPathWeights = kCells * kCells + kCells;  // of layers 1 and 2

// A step's weights and contexts, laid out for both passes. Immutable; borrows the inputs.
template <class Linear>
class TrainingStep : public TrainingKernel::Step {
 public:
  TrainingStep(const InteractionShape& shape, const TrainingLayout& layout,
               const TrainingInputs& step_inputs)
      : inputs(step_inputs),
        C_(shape.max_context),
        E_(shape.embed_size),
        CW_(static_cast<int>(RoundUp(C_, kWidth))) {
    const auto pack = [&](const TrainingSlot& slot, auto& linear) {
      linear.Pack(inputs.weights + slot.weight, inputs.weights + slot.bias, slot.in, slot.out);
    };
    for (int n = 0; n < kLayers; ++n) {
      const TrainingLayout::Layer& from = layout.layers[n];
      CellWeights<Linear>& to = layers[n];
      pack(from.refine_in, to.refine_in);
      pack(from.refine_out, to.refine_out);
      if (n == 0) continue;
      for (int j = 0; j < kCells; ++j) {
        pack(from.router_hidden[j], to.router_hidden[j]);
        pack(from.router_output[j], to.router_output[j]);
      }
      pack(from.guidance, to.guidance);
      pack(from.attention, to.attention);
      pack(from.feed_in, to.feed_in);
      pack(from.feed_out, to.feed_out);
    }
    const int64_t one = int64_t{E_} * CW_;
    transposed_.Resize(inputs.num_contexts * (1 + kProjections) * one);
    for (int64_t c = 0; c < inputs.num_contexts; ++c) {
      const int rows = static_cast<int>(inputs.context_rows[c]);
      float* const to = transposed_.get() + c * (1 + kProjections) * one;
      TransposeTo(inputs.context + c * C_ * E_, E_, rows, E_, to, CW_);
      for (int p = 0; p < kProjections; ++p) {
        TransposeTo(inputs.projected + (c * C_ * kProjections + p) * E_, kProjections * E_, rows,
                    E_, to + (1 + p) * one, CW_);
      }
    }
  }

  // One pair's context. CW is C rounded up to whole vectors.
  struct Context {
    int rows;
    const float* values;      // (C, E)
    const float* transposed;  // (E, CW)
    const float* sign;        // (E)
  };
  Context ContextOf(const TrainingPair& pair) const {
    const int64_t c = pair.context;
    return {static_cast<int>(inputs.context_rows[c]), inputs.context + c * C_ * E_,
            transposed_.get() + c * (1 + kProjections) * E_ * CW_, inputs.guide_sign + c * E_};
  }
  // A layer's scale (0) or shift (1) of a context, (E, CW).
  const float* ProjectedTransposed(const Context& context, int layer, int which) const {
    return context.transposed + int64_t{1 + 2 * layer + which} * E_ * CW_;
  }
  FloatContext OfLayer(const TrainingPair& pair, int layer) const {
    const Context context = ContextOf(pair);
    const auto projected = [&](int which) {
      const int64_t at = int64_t{pair.context} * C_ * kProjections + 2 * layer + which;
      return RowMajor(inputs.projected + at * E_, int64_t{kProjections} * E_);
    };
    return {context.rows, RowMajor(context.transposed, CW_), projected(0), projected(1)};
  }

  const TrainingInputs inputs;
  CellWeights<Linear> layers[kLayers];  // of layer 0 the last two alone

 private:
  const int C_, E_, CW_;
  Array<float> transposed_;  // (items, 1 + projections, E, CW): contexts and their projections
};

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_FLOAT_TRAINING_STEP_H_
