#ifndef DIME_MODEL_KERNELS_INTERACTION_KERNEL_H_
#define DIME_MODEL_KERNELS_INTERACTION_KERNEL_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "model/kernels/instructions.h"
#include "model/kernels/interaction_weights.h"

namespace dime::kernels {

// One side's share of the work on a pair, done once: opaque bytes, 64-byte aligned, that Score()
// reads in place.
using PreparedLocal = unsigned char;
using PreparedContext = unsigned char;

// A pair as the kernel takes it.
struct PreparedPair {
  const PreparedLocal* local;
  const PreparedContext* context;
};

// How much of the routed work was not done because the gates that it would have flowed through were
// shut. A cell counts once a pair and layer; the rectified identity, which costs nothing, not at
// all.
struct CellCounts {
  int64_t open = 0;
  int64_t skipped = 0;
};

// DIME's interaction and score (dime-model.md, 3 to 5) of one direction, on one core at a time, in
// products of bfloat16 that add up in float32, or in float32 but for the cells' linear layers,
// which may multiply bytes: `instructions` say which.
//
// The plan (dime-model.md, 9). Of a pair's local sequence, PrepareLocal() keeps all that layer 0
// does without the other side: gates, self-attention cell, and the guidance cell up to its guide's
// sign. Of the other side, PrepareContext() keeps the refinement cells' context laid out for the
// products and, for each layer, its scale and shift projections (Linear(P C) = P Linear(C), because
// P's rows sum to one). Score() takes a group of pairs through all three layers: routers first,
// then each cell for the pairs whose gates open it, then the mixing along the paths, in place, so
// that a group's state stays in the core's cache. Sequences between cells are bfloat16
// where that is multiplied, else float32; sums, norms, softmax and gates are float32.
//
// A pair's score is the same bits whatever else is in the call, and wherever in it the pair stands.
// Immutable, hence thread-safe; a Workspace is for one call at a time.
class InteractionKernel {
 public:
  // Memory for one call at a time, allocated once.
  class Workspace {
   public:
    virtual ~Workspace() = default;
    CellCounts counts;  // added up over the calls
  };

  // `weights` are packed into the kernel's own layout and not needed afterwards. `instructions`
  // must be supported. Every shape that the modules take is taken: sizes are padded within.
  static std::unique_ptr<InteractionKernel> Create(const InteractionShape& shape,
                                                   const InteractionWeights& weights,
                                                   Instructions instructions);
  virtual ~InteractionKernel() = default;

  virtual std::unique_ptr<Workspace> MakeWorkspace() const = 0;
  // Pairs that Score() takes at once; more are taken in groups of so many, fewer cost more a pair.
  virtual int group_size() const = 0;

  // Bytes of one item's prepared form, a multiple of 64.
  virtual size_t local_bytes() const = 0;
  virtual size_t context_bytes(int rows) const = 0;  // of a context of so many rows

  // `local`: (positions, embed_size) float32.
  virtual void PrepareLocal(const float* local, PreparedLocal* out, Workspace& workspace) const = 0;
  // `context`: (rows, embed_size) float32, the valid rows alone, 1 to shape.max_context; `global`:
  // (embed_size), the same side's global vector, which guides and is scored against.
  virtual void PrepareContext(const float* context, int rows, const float* global,
                              PreparedContext* out, Workspace& workspace) const = 0;
  // `scores`: (count). `paths`: (count, 36) path weights as dime-model.md, 5 orders them, or null.
  virtual void Score(const PreparedPair* pairs, int count, float* scores, float* paths,
                     Workspace& workspace) const = 0;
};

}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_INTERACTION_KERNEL_H_
