#ifndef DIME_MODEL_KERNELS_INTERACTION_WEIGHTS_H_
#define DIME_MODEL_KERNELS_INTERACTION_WEIGHTS_H_

namespace dime::kernels {

// How raw attention scores of the refinement cell are normalised along the local positions, for
// each context row (dime-model.md, 3).
enum class ScoreNorm { kClippedL2, kL2, kClippedL1, kL1, kClipped, kNone, kSoftmax };

// Sizes and options of one direction's interaction.
struct InteractionShape {
  int positions = 0;    // M: positions of the local sequence, all of them
  int max_context = 0;  // most rows of a context
  int embed_size = 0;   // E
  int num_heads = 0;    // divides E
  int feed_forward_size = 0;
  int router_size = 0;
  ScoreNorm norm = ScoreNorm::kClippedL2;
  float lambda = 4;  // temperature of the refinement cell's attention
};

// y = x W^T + b. `weight`: (out, in) float32 row-major; `bias`: (out).
struct LinearWeights {
  const float* weight = nullptr;
  const float* bias = nullptr;
  int in = 0;
  int out = 0;
};

// One routing layer: its four cells' routers in the order RIC, GLGC, IMRC, CMRC, and what the cells
// multiply by. Names are the modules'.
struct LayerWeights {
  struct Router {
    LinearWeights hidden;  // E -> router_size
    LinearWeights output;  // router_size -> paths (4, or 1 in the last layer)
  };
  Router routers[4];
  LinearWeights guidance;               // GLGC fc_1
  LinearWeights query, key, value;      // IMRC
  LinearWeights feed_in, feed_out;      // IMRC feed-forward
  LinearWeights scale, shift;           // CMRC, applied to the context
  LinearWeights refine_in, refine_out;  // CMRC fc_1, fc_2
};

// Borrowed: what it points to must stay for the call that it is given to.
struct InteractionWeights {
  LayerWeights layers[3];
  // The last batch normalisation as one product and one sum a channel: (E) each.
  const float* norm_scale = nullptr;
  const float* norm_shift = nullptr;
};

}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_INTERACTION_WEIGHTS_H_
