#ifndef DIME_MODEL_KERNELS_TRANSFORMER_KERNEL_H_
#define DIME_MODEL_KERNELS_TRANSFORMER_KERNEL_H_

#include <cstdint>
#include <memory>

#include "model/kernels/instructions.h"
#include "model/kernels/interaction_weights.h"

namespace dime::kernels {

// Sizes of a transformer encoder's layers.
struct TransformerShape {
  int num_layers = 0;
  int hidden_size = 0;  // H
  int num_heads = 0;    // divides H
  int intermediate_size = 0;
  float layer_norm_eps = 0;
};

// y = (x - mean) / sqrt(variance + eps) scale + shift over a row's H values: (H) each.
struct LayerNormWeights {
  const float* scale = nullptr;
  const float* shift = nullptr;
};

// One layer of BERT.
struct TransformerLayerWeights {
  LinearWeights attention;         // H -> 3 H: query, key and value
  LinearWeights attention_output;  // H -> H
  LayerNormWeights attention_norm;
  LinearWeights intermediate;  // H -> intermediate
  LinearWeights output;        // intermediate -> H
  LayerNormWeights output_norm;
};

// Post-norm transformer layers with exact GELU, as BERT has them (dime-model.md, 1), on one core
// at a time: in float32, or, where `instructions` multiply bytes fast, in float32 but for linear
// layers in words of 16 bits. A layer is two steps, so that several cores can share a few
// sequences: what a row's queries, keys and values are, and what the layer makes of a row, for
// which those of its whole sequence must be there.
//
// A row is the same bits whatever else is in a call, and wherever in it the row stands. Immutable,
// hence thread-safe; a Workspace is for one call at a time.
class TransformerKernel {
 public:
  // Memory for one call at a time, which grows to the largest.
  class Workspace {
   public:
    virtual ~Workspace() = default;
  };
  // Sequences of `length` rows, one after the other.
  struct Batch {
    int length = 0;
    const int64_t* lengths =
        nullptr;              // of each sequence: the rows that are attended to, 1 to length
    float* states = nullptr;  // (rows, H)
  };

  // `layers`: shape.num_layers of them, packed into the kernel's own layout and not needed
  // afterwards. `instructions` must be supported. Tiles stand for words on vectors as wide as
  // theirs, where these are supported too; vectors of bfloat16 for floats.
  static std::unique_ptr<TransformerKernel> Create(const TransformerShape& shape,
                                                   const TransformerLayerWeights* layers,
                                                   Instructions instructions);
  virtual ~TransformerKernel() = default;

  virtual std::unique_ptr<Workspace> MakeWorkspace() const = 0;
  // `projected` (rows of the batch, 3 H): queries, keys and values in `layer` of `count` rows from
  // `first` on, by their states.
  virtual void Project(int layer, const Batch& batch, int64_t first, int count, float* projected,
                       Workspace& workspace) const = 0;
  // The states of `count` rows from `first` on after `layer`, in place.
  virtual void Finish(int layer, const Batch& batch, int64_t first, int count,
                      const float* projected, Workspace& workspace) const = 0;
};

}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_TRANSFORMER_KERNEL_H_
