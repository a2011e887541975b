#ifndef DIME_MODEL_DIME_INTERACTION_WEIGHTS_READER_H_
#define DIME_MODEL_DIME_INTERACTION_WEIGHTS_READER_H_

#include <torch/torch.h>

#include <vector>

#include "model/dime/direction_model.h"
#include "model/kernels/interaction_weights.h"

namespace dime {

// A direction's sizes and options as the kernels take them. `num_regions`, `max_words`: R and L of
// the data.
kernels::InteractionShape KernelShape(const DirectionModelImpl& model, int num_regions,
                                      int max_words);

// A direction's interaction as the kernels take it, read out of its modules by the parameters'
// names. Owns what `weights` points to. A value of the moment: later training does not show.
struct InteractionWeightsReader {
  // `num_regions`, `max_words`: R and L of the data. Throws c10::Error if a parameter is missing,
  // which is a programmer's error.
  InteractionWeightsReader(const DirectionModelImpl& model, int num_regions, int max_words);
  InteractionWeightsReader(const InteractionWeightsReader&) = delete;
  InteractionWeightsReader& operator=(const InteractionWeightsReader&) = delete;

  kernels::InteractionWeights weights;
  kernels::InteractionShape shape;

 private:
  std::vector<torch::Tensor> tensors_;  // float32, contiguous, on the CPU
};

}  // namespace dime

#endif  // DIME_MODEL_DIME_INTERACTION_WEIGHTS_READER_H_
