#ifndef DIME_TESTS_MODEL_CUDA_RANDOM_WEIGHTS_H_
#define DIME_TESTS_MODEL_CUDA_RANDOM_WEIGHTS_H_

#include <cmath>
#include <random>
#include <vector>

#include "model/kernels/interaction_weights.h"

namespace dime::cuda {

// A direction's weights as large as trained ones, the same each time; of its gates some are shut.
class RandomWeights {
 public:
  explicit RandomWeights(const kernels::InteractionShape& shape) {
    const int size = shape.embed_size, inner = shape.feed_forward_size;
    for (int n = 0; n < 3; ++n) {
      kernels::LayerWeights& layer = weights_.layers[n];
      for (auto& router : layer.routers) {
        router.hidden = Linear(shape.router_size, size, 0);
        router.output = Linear(n == 2 ? 1 : 4, shape.router_size, 0.1f);  // some gates are shut
      }
      for (kernels::LinearWeights* linear :
           {&layer.guidance, &layer.query, &layer.key, &layer.value, &layer.scale, &layer.shift,
            &layer.refine_in, &layer.refine_out}) {
        *linear = Linear(size, size, 0.05f);
      }
      layer.feed_in = Linear(inner, size, 0.05f);
      layer.feed_out = Linear(size, inner, 0.05f);
    }
    weights_.norm_scale = Values(size, 1);
    weights_.norm_shift = Values(size, 1);
  }
  const kernels::InteractionWeights& weights() const { return weights_; }
  const float* Values(int count, float spread) {
    std::normal_distribution<float> normal(0, spread);
    std::vector<float>& values = kept_.emplace_back();
    for (int i = 0; i < count; ++i) values.push_back(normal(random_));
    return values.data();
  }

 private:
  kernels::LinearWeights Linear(int out, int in, float bias) {
    return {.weight = Values(out * in, 1 / std::sqrt(static_cast<float>(in))),
            .bias = Values(out, bias),
            .in = in,
            .out = out};
  }

  std::mt19937 random_{7};
  std::vector<std::vector<float>> kept_;
  kernels::InteractionWeights weights_;
};

}  // namespace dime::cuda

#endif  // DIME_TESTS_MODEL_CUDA_RANDOM_WEIGHTS_H_
