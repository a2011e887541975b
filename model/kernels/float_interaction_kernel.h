#ifndef DIME_MODEL_KERNELS_FLOAT_INTERACTION_KERNEL_H_
#define DIME_MODEL_KERNELS_FLOAT_INTERACTION_KERNEL_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "model/kernels/array.h"
#include "model/kernels/float_forward.h"
#include "model/kernels/float_product.h"
#include "model/kernels/float_rows.h"
#include "model/kernels/float_vector.h"
#include "model/kernels/interaction_kernel.h"

// InteractionKernel in float32 but for the cells' linear layers and the routers' first ones, which
// are Linear's, on vectors as wide as the unit's that includes it: for processors that do not
// multiply bfloat16, or not faster.
// For the units that float_vector.h is for; in an unnamed namespace for the same reason.
namespace dime::kernels {
namespace {

// A product's values plus the bias, in panels of (rows, n).
struct AddBiasToPanels {
  float* to;
  int rows;
  const float* bias;
  template <class Lanes>
  void operator()(int row, int column, Vec sum, Lanes lanes) const {
    float* const at = to + int64_t{column / kPanel} * kPanel * rows + int64_t{row} * kPanel;
    Store(at + column % kPanel, lanes, sum + Load(bias + column, lanes));
  }
};

template <class Linear>
class InteractionWorkspace : public InteractionKernel::Workspace, public PassMemory<Linear> {};

template <class Linear>
class FloatInteractionKernel : public InteractionKernel {
 public:
  FloatInteractionKernel(const InteractionShape& shape, const InteractionWeights& weights)
      : M_(shape.positions),
        E_(shape.embed_size),
        forward_(shape, Linear::kPairsAtATime, kMostRouted, /*keeps=*/false) {
    for (int n = 0; n < kLayers; ++n) {
      const LayerWeights& from = weights.layers[n];
      CellWeights<Linear>& to = layers_[n];
      for (int j = 0; j < kCells; ++j) {
        to.router_hidden[j].PackFinely(from.routers[j].hidden);
        to.router_output[j].Pack(from.routers[j].output);
      }
      to.guidance.Pack(from.guidance);
      to.attention.Allocate(E_, 3 * E_);
      int column = 0;
      for (const LinearWeights* linear : {&from.query, &from.key, &from.value}) {
        to.attention.Put(linear->weight, linear->bias, E_, column);
        column += E_;
      }
      if (n < kLayers - 1) {
        to.feed_in.Pack(from.feed_in);
        to.feed_out.Pack(from.feed_out);
      } else {  // whose rounding disturbs scores most (benchmarks/README.md)
        to.feed_in.PackFinely(from.feed_in);
        to.feed_out.PackFinely(from.feed_out);
      }
      to.refine_in.Pack(from.refine_in);
      to.refine_out.Pack(from.refine_out);
      projections_[2 * n].Pack(from.scale);
      projections_[2 * n + 1].Pack(from.shift);
    }
    norm_scale_.Resize(E_);
    norm_shift_.Resize(E_);
    std::memcpy(norm_scale_.get(), weights.norm_scale, E_ * sizeof(float));
    std::memcpy(norm_shift_.get(), weights.norm_shift, E_ * sizeof(float));
  }

  std::unique_ptr<Workspace> MakeWorkspace() const override {
    auto* const w = new InteractionWorkspace<Linear>;
    forward_.Allocate(*w);
    return std::unique_ptr<Workspace>(w);
  }

  int group_size() const override { return kMostRouted; }

  size_t local_bytes() const override { return LocalGates() + 64; }
  size_t context_bytes(int rows) const override { return ContextProjection(rows, 2 * kLayers); }

  void PrepareLocal(const float* local, PreparedLocal* out, Workspace& workspace) const override {
    auto& w = static_cast<InteractionWorkspace<Linear>&>(workspace);
    LayerState& s = w.state;
    const size_t bytes = forward_.PairRow(1) * sizeof(float);
    std::memcpy(out, local, bytes);
    std::memcpy(s.input[kGuidance].get(), local, bytes);
    std::memcpy(s.input[kReasoning].get(), local, bytes);
    float* const mean = s.means[0].get();
    ForVectors(E_, [&](int64_t e, auto lanes) {
      Vec sum = Zero();
      for (int64_t at = e; at < forward_.PairRow(1); at += E_) sum = sum + Load(local + at, lanes);
      Store(mean + e, lanes, sum * Set(1.0f / static_cast<float>(M_)));
    });
    for (int j = 1; j < kCells; ++j) std::memcpy(s.means[j].get(), mean, E_ * sizeof(float));
    forward_.Route(layers_[0], 1, kCells, s, w.scratch);
    forward_.Guide(layers_[0], 1, s, w.scratch);
    forward_.Reason(layers_[0], 1, s, w.scratch);
    std::memcpy(out + LocalPart(), s.unit.get(), bytes);
    std::memcpy(out + 2 * LocalPart(), s.reasoned.get(), bytes);
    std::memcpy(out + LocalGates(), s.routing[0].gate, sizeof(s.routing[0].gate));
  }

  void PrepareContext(const float* context, int rows, const float* global, PreparedContext* out,
                      Workspace&) const override {
    const int32_t stored = rows;
    std::memcpy(out, &stored, sizeof(stored));
    std::memcpy(out + ContextGuide(), global, E_ * sizeof(float));
    float* const sign = Floats(out + ContextSign());
    ForVectors(E_, [&](int64_t e, auto lanes) {
      Store(sign + e, lanes, SignOf(Load(global + e, lanes)));
    });
    float* const matrix = Floats(out + ContextMatrix());
    for (int c = 0; c < rows; c += kPanel) {
      TransposeTo(context + int64_t{c} * E_, E_, Lesser(kPanel, rows - c), E_,
                  matrix + int64_t{c} * E_, kPanel);
    }
    for (int n = 0; n < 2 * kLayers; ++n) {
      FloatProduct(Rows(context, E_), projections_[n].weight(), rows, E_, E_,
                   AddBiasToPanels{Floats(out + ContextProjection(rows, n)), rows,
                                   projections_[n].bias.get()});
    }
  }

  void Score(const PreparedPair* pairs, int count, float* scores, float* paths,
             Workspace& workspace) const override {
    auto& w = static_cast<InteractionWorkspace<Linear>&>(workspace);
    for (int first = 0; first < count; first += kMostRouted) {
      ScoreGroup(pairs + first, Lesser(kMostRouted, count - first), scores + first,
                 paths == nullptr ? nullptr : paths + int64_t{first} * kPathWeightsOfAPair, w);
    }
  }

 private:
  static constexpr int kPathWeightsOfAPair = 2 * kCells * kCells + kCells;

  static float* Floats(unsigned char* bytes) { return reinterpret_cast<float*>(bytes); }
  static const float* Floats(const unsigned char* bytes) {
    return reinterpret_cast<const float*>(bytes);
  }
  // A prepared local item: sequence, layer 0's unit vectors of guidance and its self-attention
  // cell, (M, E) each; layer 0's gates, (4 cells, 4 paths).
  int64_t LocalPart() const { return RoundUp(forward_.PairRow(1) * sizeof(float), 64); }
  int64_t LocalGates() const { return 3 * LocalPart(); }
  // A prepared context: number of rows (in a cache line of its own); the guide and its signs, (E)
  // each; the context, (E, rows) in panels; for each layer scale and shift, (rows, E) in panels.
  int64_t ContextGuide() const { return 64; }
  int64_t ContextSign() const { return ContextGuide() + RoundUp(E_ * sizeof(float), 64); }
  int64_t ContextMatrix() const { return ContextSign() + RoundUp(E_ * sizeof(float), 64); }
  int64_t ContextProjection(int rows, int n) const {
    const int64_t matrix = PanelsSize(E_, rows), projection = PanelsSize(rows, E_);
    return ContextMatrix() + (matrix + n * projection) * static_cast<int64_t>(sizeof(float));
  }
  FloatContext OfLayer(const PreparedContext* context, int layer) const {
    int32_t rows;
    std::memcpy(&rows, context, sizeof(rows));
    const auto projection = [&](int n) {
      return Panels(Floats(context + ContextProjection(rows, n)), rows);
    };
    return {rows, Panels(Floats(context + ContextMatrix()), E_), projection(2 * layer),
            projection(2 * layer + 1)};
  }

  // A group of pairs, as FloatForward::Pass() asks for them.
  struct Group {
    const FloatInteractionKernel& kernel;
    const PreparedPair* pairs;
    int count;
    float* scores;
    float* paths;  // may be null
    InteractionWorkspace<Linear>& w;

    FloatContext Context(int p, int layer) const { return kernel.OfLayer(pairs[p].context, layer); }
    const float* GuideSign(int p) const { return Floats(pairs[p].context + kernel.ContextSign()); }
    // Most of what layer 0's cells give was prepared: what they take is the bare sequence.
    void MixFirst(int p, const float* refined, float* const* to, float* const* means) const {
      const PreparedLocal* const local = pairs[p].local;
      const CellSequences cells = {{Floats(local), Floats(local)},
                                   Floats(local + kernel.LocalPart()),
                                   Floats(local + 2 * kernel.LocalPart()),
                                   refined};
      kernel.forward_.template Mix<kCells>(cells, w.state.routing[p], GuideSign(p), to, means);
    }
    void Routed(int layer) const {
      for (int j = layer == 0 ? kRefinement : 1; j < kCells; ++j) {
        for (int p = 0; p < count; ++p) {
          ++(w.state.routing[p].open[j] ? w.counts.open : w.counts.skipped);
        }
      }
      if (paths == nullptr) return;
      for (int p = 0; p < count; ++p) {
        PutPathWeights(w.state.routing[p], layer,
                       paths + int64_t{p} * kPathWeightsOfAPair + layer * kCells * kCells);
      }
    }
    float* Output(int) const { return w.output.get(); }
    void Done(int p) const { scores[p] = kernel.Finish(pairs[p].context, w); }
  };

  void ScoreGroup(const PreparedPair* pairs, int count, float* scores, float* paths,
                  InteractionWorkspace<Linear>& w) const {
    LayerState& s = w.state;
    for (int p = 0; p < count; ++p) {
      std::memcpy(s.routing[p].gate, pairs[p].local + LocalGates(), sizeof(s.routing[p].gate));
      s.routing[p].Mix();
      std::memcpy(s.input[kRefinement].get() + forward_.PairRow(p), pairs[p].local,
                  forward_.PairRow(1) * sizeof(float));
    }
    const Group group = {*this, pairs, count, scores, paths, w};
    group.Routed(0);
    LayerState* const states[kLayers] = {&s, &s, &s};
    forward_.Pass(layers_, count, states, w.scratch, group);
  }

  // The score of a pair whose last layer's output is in w.output: normalised and pooled, against
  // the guide.
  float Finish(const PreparedContext* context, InteractionWorkspace<Linear>& w) const {
    const float* const y = w.output.get();
    const float* const guide = Floats(context + ContextGuide());
    const Vec per_position = Set(1.0f / static_cast<float>(M_));
    Vec squares = Zero(), products = Zero();
    ForVectors(E_, [&](int64_t e, auto lanes) {
      const Vec scale = Load(norm_scale_.get() + e, lanes);
      const Vec shift = Load(norm_shift_.get() + e, lanes);
      Vec sum = Zero(), most = Set(-3e38f);
      for (int64_t at = e; at < forward_.PairRow(1); at += E_) {
        const Vec x = MulAdd(Load(y + at, lanes), scale, shift);
        sum = sum + x;
        most = Maximum(most, x);
      }
      const Vec pooled = Keep(lanes, MulAdd(sum, per_position, most));
      squares = MulAdd(pooled, pooled, squares);
      products = MulAdd(pooled, Load(guide + e, lanes), products);
    });
    const float norm = __builtin_sqrtf(Sum(squares));
    return Sum(products) / (norm > kLeastNorm ? norm : kLeastNorm);
  }

  const int M_, E_;
  const FloatForward<Linear> forward_;
  CellWeights<Linear> layers_[kLayers];
  FloatLinear projections_[2 * kLayers];  // of a context: scale and shift of each layer
  Array<float> norm_scale_, norm_shift_;
};

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_FLOAT_INTERACTION_KERNEL_H_
