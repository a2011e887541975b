#ifndef DIME_MODEL_KERNELS_TRAINING_KERNEL_H_
#define DIME_MODEL_KERNELS_TRAINING_KERNEL_H_

#include <cstdint>
#include <memory>

#include "model/kernels/instructions.h"
#include "model/kernels/interaction_weights.h"

namespace dime::kernels {

// Where a linear layer lies in the flat array of weights: floats from its start.
struct TrainingSlot {
  int64_t weight = 0;  // (out, in) row-major
  int64_t bias = 0;    // (out)
  int in = 0;
  int out = 0;
};

// The flat array of the weights that a pair's own work takes, in this order, each weight followed
// by its bias. Layer 0 has the last two alone: what else it does depends on one side.
struct TrainingLayout {
  struct Layer {
    TrainingSlot router_hidden[4], router_output[4];  // RIC, GLGC, IMRC, CMRC; hidden, output, ...
    TrainingSlot guidance;                            // GLGC fc_1
    TrainingSlot attention;  // IMRC: the weights of query, key and value, then their biases
    TrainingSlot feed_in, feed_out;
    TrainingSlot refine_in, refine_out;  // CMRC fc_1, fc_2
  };
  explicit TrainingLayout(const InteractionShape& shape);

  Layer layers[3];
  int64_t size = 0;
};

// What a pass takes, float32 and row-major throughout; Value is float for gradients, which are
// added to. M, C and E are the shape's; C is the most rows of a context.
template <class Value>
struct TrainingArrays {
  Value* weights = nullptr;  // as TrainingLayout has them

  // Of each item of the local side: what layer 0 does without the other side.
  Value* local = nullptr;   // (items, M, E): what its refinement cell takes
  Value* base = nullptr;    // (items, 4, M, E): what flows to each path but for the two below
  Value* guided = nullptr;  // (items, M, E): the guidance cell's term that the guide's sign turns
  Value* guided_share = nullptr;   // (items, 4): the guidance cell's weight on each path
  Value* refined_share = nullptr;  // (items, 4): the refinement cell's

  // Of each item of the other side.
  Value* context = nullptr;    // (items, C, E)
  Value* projected = nullptr;  // (items, C, 6, E): Linear_scale, Linear_shift of layers 0, 1, 2
};

struct TrainingInputs : TrainingArrays<const float> {
  int num_contexts = 0;
  const int64_t* context_rows = nullptr;  // (items): valid rows of each context, 1 to C
  const float* guide_sign = nullptr;      // (items, E): of the global vector: 1, 0 or -1
};

struct TrainingPair {
  int local;    // row among the local side's items
  int context;  // row among the other side's
};

// What a pass gives for each pair, or, with Value const, gradients with respect to it. Of the last
// layer's output Y (M, E) it keeps what batch normalisation and pooling need.
template <class Value>
struct PairSummaries {
  Value* mean = nullptr;     // (pairs, E) over positions
  Value* maximum = nullptr;  // (pairs, E)
  Value* minimum = nullptr;  // (pairs, E)
  Value* spread = nullptr;   // (pairs, E): mean squared distance from the mean
  Value* paths = nullptr;    // (pairs, 20): path weights of layer 1 (16) and 2 (4)
};

// Forward and backward pass of the part of DIME's interaction that depends on both sides of a pair
// (dime-model.md, 3 and 4), for training on a CPU: in float32, or where the instructions multiply
// in bfloat16 in mixed precision, which is that the operands of linear layers, forward and
// backward, are rounded to it. Sums, routers, attention and what is between are float32 then as
// well.
//
// A few pairs go through the three layers together, one core's work, in memory that stays in its
// cache; the backward pass computes their forward pass anew, instead of keeping some 40 sequences
// of every pair of a batch. Cells whose gates are shut run in neither
// pass: they contribute nothing and have no gradient. Maxima and minima give their gradient to the
// first position that attains them.
//
// Immutable, hence thread-safe; a Workspace is for one thread at a time. Results depend on nothing
// but the arguments.
class TrainingKernel {
 public:
  class Workspace {
   public:
    virtual ~Workspace() = default;
  };
  // Weights and contexts laid out for the products of one pass or several. Borrows the inputs.
  class Step {
   public:
    virtual ~Step() = default;
  };

  // `shape.max_context` is C. Every shape and norm that the modules take is taken. `instructions`
  // must be supported and no such that multiply bytes.
  static std::unique_ptr<TrainingKernel> Create(const InteractionShape& shape,
                                                Instructions instructions);
  virtual ~TrainingKernel() = default;

  virtual std::unique_ptr<Workspace> MakeWorkspace() const = 0;
  virtual std::unique_ptr<Step> MakeStep(const TrainingInputs& inputs) const = 0;

  virtual void Forward(const Step& step, const TrainingPair* pairs, int count,
                       const PairSummaries<float>& out, Workspace& workspace) const = 0;
  // Adds to `gradients` what the pairs contribute, given those with respect to what Forward() gave.
  virtual void Backward(const Step& step, const TrainingPair* pairs, int count,
                        const PairSummaries<const float>& given,
                        const TrainingArrays<float>& gradients, Workspace& workspace) const = 0;
};

}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_TRAINING_KERNEL_H_
