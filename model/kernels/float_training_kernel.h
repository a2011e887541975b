#ifndef DIME_MODEL_KERNELS_FLOAT_TRAINING_KERNEL_H_
#define DIME_MODEL_KERNELS_FLOAT_TRAINING_KERNEL_H_

#include <cstdint>
#include <cstring>
#include <memory>

#include "model/kernels/array.h"
#include "model/kernels/float_forward.h"
#include "model/kernels/float_product.h"
#include "model/kernels/float_rows.h"
#include "model/kernels/float_vector.h"
#include "model/kernels/score_norms.h"
#include "model/kernels/training_kernel.h"

// TrainingKernel, on vectors as wide as the unit's that includes it. For the units that
// float_vector.h is for; in an unnamed namespace for the same reason.
namespace dime::kernels {
namespace {

constexpr int kProjections = 2 * kLayers;  // of a context
constexpr int kPathWeights = 20;           // of layers 1 and 2
// Pairs that go through the layers together in a backward pass: so many that their state, some 60
// sequences, takes so much, which is a second-level cache or two. Weights that do not fit one are
// read, and their gradients written, for at least as many pairs as below. Measured with AVX-512 and
// AVX512-BF16 on caches of 1 MB; half as many are slower.
constexpr int64_t kStateBytes = 2400000;
constexpr int64_t kCachedWeights = 1 << 18;  // floats
constexpr int kPairsBeyond = 8;
// Pairs whose routers' gradients are added up together: of each pair a router has but one row, for
// as many weights, whose gradients would otherwise be read and written for every few pairs.
constexpr int kRouterRows = 32;

// What the gradients of one router's weights are made of, for many pairs: a row for each.
struct RouterRows {
  Array<float> means;      // (rows, E): its input
  Array<float> hidden;     // (rows, router size): its hidden layer
  Array<float> of_hidden;  // (rows, router size): gradient before the rectifier
  Array<float> of_output;  // (rows, paths): gradient
};

// What Backward() needs. Sequences have a row for each pair and position.
template <class Linear>
struct BackwardMemory {
  LayerState layers[kLayers];
  ForwardScratch<Linear> scratch;
  Array<float> output;            // (rows, E): Y
  Array<float> flow[2][kCells];   // (rows, E): gradients of layers' inputs, by turns
  Array<float> extra[2][kCells];  // (pairs, E): what every position's gradient has besides
  Array<float> cell[kCells];      // (rows, E): gradients of cells' outputs
  Array<float> wide;              // (rows, 3 E or feed-forward size)
  Array<float> narrow, narrow2;   // (rows, E)
  Array<float> square;            // (M, MW or CW)
  float gate_gradient[kMostPairs][kCells][kCells];  // [pair][cell][path], before relu(tanh)
  RouterRows routers[kLayers - 1][kCells];          // of layers 1 and 2
  int router_rows = 0;                              // that they hold
};

template <class Linear>
class TrainingWorkspace : public TrainingKernel::Workspace {
 public:
  // Each from its first use on.
  std::unique_ptr<PassMemory<Linear>> forward;
  std::unique_ptr<BackwardMemory<Linear>> backward;
};

template <class Linear>
class TrainingStep : public TrainingKernel::Step {
 public:
  TrainingInputs inputs;
  CellWeights<Linear> layers[kLayers];  // of layer 0 the last two alone
  Array<float> contexts;  // (items, 1 + projections, E, CW): context, projections, transposed
};

template <class Linear>
class FloatTrainingKernel : public TrainingKernel {
  using OwnWorkspace = TrainingWorkspace<Linear>;
  using OwnStep = TrainingStep<Linear>;
  using Memory = BackwardMemory<Linear>;

 public:
  explicit FloatTrainingKernel(const InteractionShape& shape)
      : shape_(shape),
        layout_(shape),
        M_(shape.positions),
        C_(shape.max_context),
        E_(shape.embed_size),
        F_(shape.feed_forward_size),
        H_(shape.router_size),
        heads_(shape.num_heads),
        head_(shape.embed_size / shape.num_heads),
        pairs_(PairsTogether(shape, layout_)),
        forward_(shape, pairs_, pairs_, /*keeps=*/true),
        passing_(shape, kPairsAtATime, kMostRouted, /*keeps=*/false),
        MW_(forward_.position_stride()),
        CW_(forward_.context_stride()) {}

  std::unique_ptr<Workspace> MakeWorkspace() const override {
    return std::unique_ptr<Workspace>(new OwnWorkspace);
  }

  std::unique_ptr<Step> MakeStep(const TrainingInputs& inputs) const override {
    auto* const step = new OwnStep;
    step->inputs = inputs;
    const auto pack = [&](const TrainingSlot& slot, auto& linear) {
      linear.Pack(inputs.weights + slot.weight, inputs.weights + slot.bias, slot.in, slot.out);
    };
    for (int n = 0; n < kLayers; ++n) {
      const TrainingLayout::Layer& from = layout_.layers[n];
      CellWeights<Linear>& to = step->layers[n];
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
    step->contexts.Resize(inputs.num_contexts * (1 + kProjections) * one);
    for (int64_t c = 0; c < inputs.num_contexts; ++c) {
      const int rows = static_cast<int>(inputs.context_rows[c]);
      float* const to = step->contexts.get() + c * (1 + kProjections) * one;
      TransposeTo(inputs.context + c * C_ * E_, E_, rows, E_, to, CW_);
      for (int p = 0; p < kProjections; ++p) {
        TransposeTo(inputs.projected + (c * C_ * kProjections + p) * E_, kProjections * E_, rows,
                    E_, to + (1 + p) * one, CW_);
      }
    }
    return std::unique_ptr<Step>(step);
  }

  void Forward(const Step& step, const TrainingPair* pairs, int count,
               const PairSummaries<float>& out, Workspace& workspace) const override {
    const auto& own = static_cast<const OwnStep&>(step);
    std::unique_ptr<PassMemory<Linear>>& memory = static_cast<OwnWorkspace&>(workspace).forward;
    if (memory == nullptr) {
      memory.reset(new PassMemory<Linear>);
      passing_.Allocate(*memory);
    }
    LayerState& state = memory->state;
    LayerState* const states[kLayers] = {&state, &state, &state};
    const typename Linear::Session session;
    for (int first = 0; first < count; first += kMostRouted) {
      const int n = Lesser(kMostRouted, count - first);
      const int64_t row = int64_t{first} * E_;
      PutFirstInputs(own, pairs + first, n, state);
      const ScoredGroup group = {{*this, own, pairs + first},
                                 n,
                                 state,
                                 memory->output.get(),
                                 {out.mean + row, out.maximum + row, out.minimum + row,
                                  out.spread + row, out.paths + int64_t{first} * kPathWeights}};
      passing_.Pass(own.layers, n, states, memory->scratch, group);
    }
  }

  void Backward(const Step& step, const TrainingPair* pairs, int count,
                const PairSummaries<const float>& given, const TrainingArrays<float>& gradients,
                Workspace& workspace) const override {
    const auto& inputs = static_cast<const OwnStep&>(step);
    std::unique_ptr<Memory>& memory = static_cast<OwnWorkspace&>(workspace).backward;
    if (memory == nullptr) memory = MakeBackwardMemory();
    Memory& w = *memory;
    const typename Linear::Session session;
    for (int first = 0; first < count; first += pairs_) {
      const int n = Lesser(pairs_, count - first);
      RunForward(inputs, pairs + first, n, w);
      RunBackward(inputs, pairs + first, n, first, given, gradients, w);
      w.router_rows += n;
      if (w.router_rows + pairs_ > kRouterRows) AddRouterGradients(gradients, w);
    }
    if (w.router_rows > 0) AddRouterGradients(gradients, w);
  }

 private:
  std::unique_ptr<Memory> MakeBackwardMemory() const {
    std::unique_ptr<Memory> w(new Memory);
    const int64_t rows = int64_t{pairs_} * M_, sequence = rows * E_, summary = int64_t{pairs_} * E_;
    for (int n = 0; n < kLayers; ++n) forward_.Allocate(/*refinement_alone=*/n == 0, w->layers[n]);
    forward_.Allocate(w->scratch);
    for (Array<float>* a : {&w->output, &w->narrow, &w->narrow2}) a->Resize(sequence);
    for (int j = 0; j < kCells; ++j) {
      w->cell[j].Resize(sequence);
      for (int k = 0; k < 2; ++k) {
        w->flow[k][j].Resize(sequence);
        w->extra[k][j].Resize(summary);
      }
    }
    w->wide.Resize(Greater(3 * sequence, rows * F_));
    w->square.Resize(int64_t{M_} * Greater(MW_, CW_));
    for (int n = 1; n < kLayers; ++n) {
      for (RouterRows& router : w->routers[n - 1]) {
        router.means.Resize(int64_t{kRouterRows} * E_);
        router.hidden.Resize(int64_t{kRouterRows} * H_);
        router.of_hidden.Resize(int64_t{kRouterRows} * H_);
        router.of_output.Resize(int64_t{kRouterRows} * PathsOf(n));
      }
    }
    return w;
  }

  static int PairsTogether(const InteractionShape& shape, const TrainingLayout& layout) {
    const int64_t pair_bytes = int64_t{60} * shape.positions * shape.embed_size * sizeof(float);
    const int64_t least = layout.size > kCachedWeights ? kPairsBeyond : 1;
    return Lesser(kMostPairs, static_cast<int>(Greater(kStateBytes / pair_bytes, least)));
  }

  // One pair's context.
  struct Context {
    int rows;
    const float* values;      // (C, E)
    const float* transposed;  // (E, CW)
    const float* sign;        // (E)
  };
  Context ContextOf(const OwnStep& step, const TrainingPair& pair) const {
    const int64_t c = pair.context;
    return {static_cast<int>(step.inputs.context_rows[c]), step.inputs.context + c * C_ * E_,
            step.contexts.get() + c * (1 + kProjections) * E_ * CW_,
            step.inputs.guide_sign + c * E_};
  }
  // A layer's scale (0) or shift (1) of a context: rows 6 E apart.
  const float* Projected(const OwnStep& step, const TrainingPair& pair, int layer,
                         int which) const {
    return step.inputs.projected +
           (int64_t{pair.context} * C_ * kProjections + 2 * layer + which) * E_;
  }
  const float* ProjectedTransposed(const Context& context, int layer, int which) const {
    return context.transposed + int64_t{1 + 2 * layer + which} * E_ * CW_;
  }
  FloatContext OfLayer(const OwnStep& step, const TrainingPair& pair, int layer) const {
    const Context context = ContextOf(step, pair);
    const int64_t stride = int64_t{kProjections} * E_;
    return {context.rows, RowMajor(context.transposed, CW_),
            RowMajor(Projected(step, pair, layer, 0), stride),
            RowMajor(Projected(step, pair, layer, 1), stride)};
  }
  int64_t PairRow(int t) const { return forward_.PairRow(t); }

  // Calls body(first, count) for each run of pairs side by side whose cell is open.
  template <class Body>
  void ForOpen(const LayerState& s, int cell, int count, Body&& body) const {
    for (int t = 0; t < count;) {
      if (!s.routing[t].open[cell]) {
        ++t;
        continue;
      }
      const int first = t;
      while (t < count && s.routing[t].open[cell]) ++t;
      body(first, t - first);
    }
  }
  // A shut cell's gradient.
  void ClearShut(const LayerState& s, int cell, int count, float* sequence) const {
    for (int t = 0; t < count; ++t) {
      if (!s.routing[t].open[cell]) {
        std::memset(sequence + PairRow(t), 0, PairRow(1) * sizeof(float));
      }
    }
  }

  // ---- Forward ----

  // Pairs of a pass, as FloatForward::Pass() asks for them.
  struct Group {
    const FloatTrainingKernel& kernel;
    const OwnStep& step;
    const TrainingPair* pairs;

    FloatContext Context(int p, int layer) const { return kernel.OfLayer(step, pairs[p], layer); }
    const float* GuideSign(int p) const { return kernel.ContextOf(step, pairs[p]).sign; }
    void MixFirst(int p, const float* refined, float* const* to, float* const* means) const {
      kernel.MixFirst(step, pairs[p], refined, to, means);
    }
  };
  // Whose outputs and whose summaries count.
  struct ScoredGroup : Group {
    int count;
    const LayerState& state;
    float* output;
    PairSummaries<float> out;  // from the first pair's row on

    void Routed(int layer) const {
      for (int p = 0; p < count; ++p) {
        PutPathWeights(state.routing[p], layer,
                       out.paths + int64_t{p} * kPathWeights + (layer - 1) * kCells * kCells);
      }
    }
    float* Output(int) const { return output; }
    void Done(int p) const { this->kernel.Summarize(output, p, out); }
  };
  // Whose states are kept for a backward pass, and outputs side by side.
  struct KeptGroup : Group {
    float* outputs;

    void Routed(int) const {}
    float* Output(int p) const { return outputs + this->kernel.PairRow(p); }
    void Done(int) const {}
  };

  // What layer 0's refinement cell takes, and whether it is open.
  void PutFirstInputs(const OwnStep& step, const TrainingPair* pairs, int count,
                      LayerState& s) const {
    for (int t = 0; t < count; ++t) {
      const float* const share = step.inputs.refined_share + int64_t{pairs[t].local} * kCells;
      s.routing[t].open[kRefinement] = share[0] > 0 || share[1] > 0 || share[2] > 0 || share[3] > 0;
      std::memcpy(s.input[kRefinement].get() + PairRow(t),
                  step.inputs.local + pairs[t].local * PairRow(1), PairRow(1) * sizeof(float));
    }
  }

  void RunForward(const OwnStep& step, const TrainingPair* pairs, int count, Memory& w) const {
    PutFirstInputs(step, pairs, count, w.layers[0]);
    LayerState* const states[kLayers] = {&w.layers[0], &w.layers[1], &w.layers[2]};
    const KeptGroup group = {{*this, step, pairs}, w.output.get()};
    forward_.Pass(step.layers, count, states, w.scratch, group);
  }

  // Layer 1's inputs and their means, from what layer 0 gives for either side and for the pair.
  void MixFirst(const OwnStep& step, const TrainingPair& pair, const float* refined,
                float* const* inputs, float* const* means) const {
    const TrainingInputs& in = step.inputs;
    const int64_t item = pair.local, sequence = PairRow(1);
    const float* const sign = in.guide_sign + int64_t{pair.context} * E_;
    const float* const guided = in.guided + item * sequence;
    const Vec per_position = Set(1.0f / static_cast<float>(M_));
    for (int i = 0; i < kCells; ++i) {
      const float* const base = in.base + (item * kCells + i) * sequence;
      float* const to = inputs[i];
      float* const mean = means[i];
      const Vec guided_share = Set(in.guided_share[item * kCells + i]);
      const Vec refined_share = Set(in.refined_share[item * kCells + i]);
      ForVectors(E_, [&](int64_t e, auto lanes) {
        const Vec turned = guided_share * Load(sign + e, lanes);
        Vec sum = Zero();
        for (int64_t at = e; at < sequence; at += E_) {
          Vec x = Load(base + at, lanes);
          x = MulAdd(turned, Load(guided + at, lanes), x);
          x = MulAdd(refined_share, Load(refined + at, lanes), x);
          Store(to + at, lanes, x);
          sum = sum + x;
        }
        Store(mean + e, lanes, sum * per_position);
      });
    }
  }

  // kWidth channels of a sequence over its positions.
  struct Pooled {
    Vec mean, most, least;
  };
  template <class Lanes>
  Pooled PoolChannels(const float* y, int64_t e, Lanes lanes) const {
    Vec sum = Zero(), most = Load(y + e, lanes), least = most;
    for (int64_t at = e; at < PairRow(1); at += E_) {
      const Vec x = Load(y + at, lanes);
      sum = sum + x;
      most = Maximum(most, x);
      least = Minimum(least, x);
    }
    return {sum * Set(1.0f / static_cast<float>(M_)), most, least};
  }

  void Summarize(const float* y, int64_t row, const PairSummaries<float>& out) const {
    const Vec per_position = Set(1.0f / static_cast<float>(M_));
    ForVectors(E_, [&](int64_t e, auto lanes) {
      const auto [mean, most, least] = PoolChannels(y, e, lanes);
      Vec squares = Zero();
      for (int64_t at = e; at < PairRow(1); at += E_) {
        const Vec distance = Load(y + at, lanes) - mean;
        squares = MulAdd(distance, distance, squares);
      }
      Store(out.mean + row * E_ + e, lanes, mean);
      Store(out.maximum + row * E_ + e, lanes, most);
      Store(out.minimum + row * E_ + e, lanes, least);
      Store(out.spread + row * E_ + e, lanes, squares * per_position);
    });
  }

  // ---- Backward ----

  void RunBackward(const OwnStep& step, const TrainingPair* pairs, int count, int64_t first_row,
                   const PairSummaries<const float>& given, const TrainingArrays<float>& gradients,
                   Memory& w) const {
    for (int t = 0; t < count; ++t) SummaryGradient(given, first_row + t, t, w);
    std::memset(w.extra[0][0].get(), 0, int64_t{count} * E_ * sizeof(float));
    for (int n = kLayers - 1; n >= 1; --n) {
      // What came from the layer above is in one half of `flow`, what goes down in the other.
      Array<float>* const from = w.flow[n % 2 == 0 ? 0 : 1];
      Array<float>* const to = w.flow[n % 2 == 0 ? 1 : 0];
      Array<float>* const from_extra = w.extra[n % 2 == 0 ? 0 : 1];
      Array<float>* const to_extra = w.extra[n % 2 == 0 ? 1 : 0];
      for (int t = 0; t < count; ++t) {
        const float* const sign = ContextOf(step, pairs[t]).sign;
        const float* const paths = given.paths + (first_row + t) * kPathWeights;
        if (n == 1) {
          MixGradient<kCells>(n, t, sign, paths, from, from_extra, to, w);
        } else {
          MixGradient<1>(n, t, sign, paths + kCells * kCells, from, from_extra, to, w);
        }
      }
      GuidanceGradient(step, count, n, to[kGuidance].get(), gradients, w);
      ReasoningGradient(step, count, n, to[kReasoning].get(), gradients, w);
      RefinementGradient(step, pairs, count, n, to[kRefinement].get(), gradients, w);
      if (n == kLayers - 1) {
        for (int t = 0; t < count; ++t) BypassGradient(t, from[0].get(), to, w);
      }
      RouterGradient(step, count, n, to_extra, w);
    }
    for (int t = 0; t < count; ++t) MixFirstGradient(step, pairs[t], t, gradients, w);
    RefinementGradient(step, pairs, count, 0, w.narrow2.get(), gradients, w);
    for (int t = 0; t < count; ++t) {
      if (!w.layers[0].routing[t].open[kRefinement]) continue;
      float* const to = gradients.local + pairs[t].local * PairRow(1);
      const float* const gradient = w.narrow2.get() + PairRow(t);
      ForVectors(PairRow(1), [&](int64_t at, auto lanes) {
        Accumulate(to + at, lanes, Load(gradient + at, lanes));
      });
    }
  }

  // Y's, from its summary's.
  void SummaryGradient(const PairSummaries<const float>& given, int64_t row, int t,
                       Memory& w) const {
    const float* const y = w.output.get() + PairRow(t);
    float* const to = w.flow[0][0].get() + PairRow(t);
    const Vec per_position = Set(1.0f / static_cast<float>(M_));
    ForVectors(E_, [&](int64_t e, auto lanes) {
      const auto [mean, most, least] = PoolChannels(y, e, lanes);
      const int64_t at_summary = row * E_ + e;
      const Vec for_mean = per_position * Load(given.mean + at_summary, lanes);
      const Vec for_most = Load(given.maximum + at_summary, lanes);
      const Vec for_least = Load(given.minimum + at_summary, lanes);
      const Vec for_spread = (per_position + per_position) * Load(given.spread + at_summary, lanes);
      // Channels whose position is still to come.
      Mask most_left = TailMask(kWidth), least_left = most_left;
      for (int64_t at = e; at < PairRow(1); at += E_) {
        const Vec x = Load(y + at, lanes);
        Vec gradient = MulAdd(for_spread, x - mean, for_mean);
        const Mask is_most = Both(most_left, IsEqual(x, most));
        const Mask is_least = Both(least_left, IsEqual(x, least));
        most_left = Without(most_left, is_most);
        least_left = Without(least_left, is_least);
        gradient = Select(is_most, gradient + for_most, gradient);
        gradient = Select(is_least, gradient + for_least, gradient);
        Store(to + at, lanes, gradient);
      }
    });
  }

  // From the gradients of what flows along a layer's paths, `from` and `from_extra`, those of its
  // cells' outputs, but of RIC and GLGC that of their inputs (GLGC's without what goes through its
  // unit vectors, whose gradient is left in w.cell[kGuidance], before fc_1), and of its gates.
  template <int kPaths>
  void MixGradient(int n, int t, const float* sign, const float* path_gradients,
                   const Array<float>* from, const Array<float>* from_extra, Array<float>* to,
                   Memory& w) const {
    LayerState& s = w.layers[n];
    const Routing& routing = s.routing[t];
    const CellSequences cells = forward_.SequencesOf(s, t);
    const float* const scales = s.unit_scale.get() + int64_t{t} * E_;
    float* const to_rectified = to[0].get() + PairRow(t);
    float* const to_guided = to[kGuidance].get() + PairRow(t);
    float* const unit_gradient = w.cell[kGuidance].get() + PairRow(t);
    float* const to_reasoned = w.cell[kReasoning].get() + PairRow(t);
    float* const to_refined = w.cell[kRefinement].get() + PairRow(t);
    const float* flows[kPaths];
    for (int i = 0; i < kPaths; ++i) flows[i] = from[i].get() + PairRow(t);
    Vec dots[kPaths][kCells];
    for (int i = 0; i < kPaths; ++i) {
      for (int j = 0; j < kCells; ++j) dots[i][j] = Zero();
    }
    ForVectors(E_, [&](int64_t e, auto lanes) {
      const Vec turn = Load(sign + e, lanes);
      Vec extra[kPaths];
      for (int i = 0; i < kPaths; ++i) {
        extra[i] = Load(from_extra[i].get() + int64_t{t} * E_ + e, lanes);
      }
      Vec along = Zero();
      for (int64_t at = e; at < PairRow(1); at += E_) {
        const CellOutputs outputs = cells.At(at, lanes, turn);
        Vec gradient[kCells];
        for (int i = 0; i < kPaths; ++i) {
          const Vec flow = Load(flows[i] + at, lanes) + extra[i];
          for (int j = 0; j < kCells; ++j) {
            const Vec weight = Set(routing.weight[i][j]);
            gradient[j] = i == 0 ? weight * flow : MulAdd(weight, flow, gradient[j]);
            dots[i][j] = MulAdd(flow, outputs.of[j], dots[i][j]);
          }
        }
        const Vec unit = Load(cells.unit + at, lanes);
        const Vec guided = gradient[kGuidance] * turn;
        const Vec for_unit = guided * Load(cells.input[1] + at, lanes);
        along = MulAdd(for_unit, unit, along);
        Store(unit_gradient + at, lanes, for_unit);
        Store(to_guided + at, lanes, MulAdd(guided, unit, gradient[kGuidance]));
        // The rectified identity is positive where its input is.
        Store(to_rectified + at, lanes, Keep(IsPositive(outputs.of[0]), gradient[0]));
        Store(to_reasoned + at, lanes, gradient[kReasoning]);
        Store(to_refined + at, lanes, gradient[kRefinement]);
      }
      if (!routing.open[kGuidance]) return;
      const Vec scale = Load(scales + e, lanes);
      along = along * IsUnclamped(scale);
      for (int64_t at = e; at < PairRow(1); at += E_) {
        const Vec rest =
            NegMulAdd(along, Load(cells.unit + at, lanes), Load(unit_gradient + at, lanes));
        Store(unit_gradient + at, lanes, scale * rest);
      }
    });
    float dot[kPaths][kCells];
    for (int i = 0; i < kPaths; ++i) {
      for (int j = 0; j < kCells; ++j) dot[i][j] = Sum(dots[i][j]);
    }
    GateGradient<kPaths>(n, t, dot, path_gradients, from, w);
  }

  // Of p[j][i] = g[j][i] / total[i], or in the last layer of Y's weights, and of g = relu(tanh(.)).
  template <int kPaths>
  void GateGradient(int n, int t, const float dot[kPaths][kCells], const float* path_gradients,
                    const Array<float>* from, Memory& w) const {
    const LayerState& s = w.layers[n];
    const Routing& routing = s.routing[t];
    for (int i = 0; i < kPaths; ++i) {
      float gradient[kCells];
      float common = 0;  // by way of the total
      for (int j = 0; j < kCells; ++j) {
        gradient[j] = dot[i][j];
        if (kPaths > 1) gradient[j] += path_gradients[i * kCells + j];
        common += gradient[j] * routing.share[i][j];
      }
      if (kPaths == 1) {
        for (int j = 0; j < kCells; ++j) {
          if (routing.bypass[j] == 0) continue;
          const float* const flow = from[0].get() + PairRow(t);
          const float* const input = s.input[j].get() + PairRow(t);
          Vec sum = Zero();
          ForVectors(PairRow(1), [&](int64_t at, auto lanes) {
            sum = MulAdd(Load(flow + at, lanes), Load(input + at, lanes), sum);
          });
          common += routing.bypass[j] * Sum(sum);
        }
      }
      for (int j = 0; j < kCells; ++j) {
        const float gate = routing.gate[j][i];
        float of_gate = (gradient[j] - common) / routing.total[i];
        if (kPaths == 1) of_gate += path_gradients[j];
        w.gate_gradient[t][j][i] = gate > 0 ? of_gate * (1 - gate * gate) : 0;
      }
    }
  }

  void BypassGradient(int t, const float* from, Array<float>* to, Memory& w) const {
    for (int j = 0; j < kCells; ++j) {
      const float bypass = w.layers[kLayers - 1].routing[t].bypass[j];
      if (bypass == 0) continue;
      const Vec weight = Set(bypass);
      float* const at_input = to[j].get() + PairRow(t);
      const float* const flow = from + PairRow(t);
      ForVectors(PairRow(1), [&](int64_t at, auto lanes) {
        Accumulate(at_input + at, lanes, weight * Load(flow + at, lanes));
      });
    }
  }

  // weight += gradient^T input, bias += gradient's sums. By `ByLinear`: Linear or FloatLinear.
  template <class ByLinear>
  void AddLinearGradient(const TrainingSlot& slot, const float* gradient, int64_t gradient_stride,
                         const float* input, int64_t input_stride, int rows, float* weights,
                         typename ByLinear::Scratch& scratch) const {
    ByLinear::AddProduct(gradient, gradient_stride, slot.out, input, input_stride, slot.in, rows,
                         weights + slot.weight, scratch);
    AddColumnSums(gradient, gradient_stride, rows, slot.out, weights + slot.bias);
  }

  // Of TwoLayers(), from `gradient` of what it adds to the residual: finish() gets that of x.
  // Leaves that of in(x) in `before`.
  template <class Finish>
  void TwoLayersGradient(const TrainingSlot& in_slot, const Linear& in,
                         const TrainingSlot& out_slot, const Linear& out, int rows,
                         const float* gradient, const float* x, const float* hidden, float* before,
                         const TrainingArrays<float>& gradients, typename Linear::Scratch& scratch,
                         const Finish& finish) const {
    AddLinearGradient<Linear>(out_slot, gradient, out.out, hidden, out.in, rows, gradients.weights,
                              scratch);
    out.MultiplyBack(gradient, out.out, rows, scratch, WhereRectifierOpen{before, out.in, hidden});
    AddLinearGradient<Linear>(in_slot, before, in.out, x, in.in, rows, gradients.weights, scratch);
    in.MultiplyBack(before, in.out, rows, scratch, finish);
  }

  void GuidanceGradient(const OwnStep& step, int count, int n, float* to,
                        const TrainingArrays<float>& gradients, Memory& w) const {
    const LayerState& s = w.layers[n];
    const TrainingSlot& slot = layout_.layers[n].guidance;
    ForOpen(s, kGuidance, count, [&](int first, int pairs) {
      const float* const gradient = w.cell[kGuidance].get() + PairRow(first);
      AddLinearGradient<Linear>(slot, gradient, E_, s.input[kGuidance].get() + PairRow(first), E_,
                                pairs * M_, gradients.weights, w.scratch.linear);
      step.layers[n].guidance.MultiplyBack(gradient, E_, pairs * M_, w.scratch.linear,
                                           AddTo{to + PairRow(first), E_});
    });
  }

  void ReasoningGradient(const OwnStep& step, int count, int n, float* to,
                         const TrainingArrays<float>& gradients, Memory& w) const {
    const LayerState& s = w.layers[n];
    const TrainingLayout::Layer& slots = layout_.layers[n];
    const CellWeights<Linear>& layer = step.layers[n];
    const float factor = forward_.SelfFactor();
    ClearShut(s, kReasoning, count, to);
    ForOpen(s, kReasoning, count, [&](int first, int pairs) {
      const int rows = pairs * M_;
      const float* const gradient = w.cell[kReasoning].get() + PairRow(first);
      const float* const feed = s.feed.get() + int64_t{first} * M_ * F_;
      const float* const attended = s.attended.get() + PairRow(first);
      float* const middle = w.narrow.get() + PairRow(first);  // of `attended`
      TwoLayersGradient(slots.feed_in, layer.feed_in, slots.feed_out, layer.feed_out, rows,
                        gradient, attended, feed, w.wide.get(), gradients, w.scratch.linear,
                        AddResidual{middle, E_, gradient, nullptr});
      // Of query, key and value, side by side as they are.
      const int64_t stride = 3 * int64_t{E_};
      for (int t = first; t < first + pairs; ++t) {
        const float* const attention = s.attention.get() + 3 * PairRow(t);
        const float* const heads = w.narrow.get() + PairRow(t);
        float* const out = w.wide.get() + 3 * (PairRow(t) - PairRow(first));
        TransposeTo(attention + 2 * E_, stride, M_, E_, w.scratch.transposed.get(), MW_);  // values
        for (int h = 0; h < heads_; ++h) {
          const int at = h * head_;
          const float* const shares = forward_.SelfShares(s, t, h);
          float* const scores = w.square.get();
          FloatProduct(Rows(heads + at, E_), RowMajor(w.scratch.transposed.get() + at * MW_, MW_),
                       M_, M_, head_, StoreTo{scores, MW_});
          SoftmaxGradient(shares, scores, M_, M_, MW_, factor);
          FloatProduct(Rows(scores, MW_), RowMajor(attention + E_ + at, stride), M_, head_, M_,
                       StoreTo{out + at, stride});
          FloatProduct(Columns(scores, MW_), RowMajor(attention + at, stride), M_, head_, M_,
                       StoreTo{out + E_ + at, stride});
          FloatProduct(Columns(shares, MW_), RowMajor(heads + at, E_), M_, head_, M_,
                       StoreTo{out + 2 * E_ + at, stride});
        }
      }
      AddLinearGradient<Linear>(slots.attention, w.wide.get(), stride,
                                s.input[kReasoning].get() + PairRow(first), E_, rows,
                                gradients.weights, w.scratch.linear);
      layer.attention.MultiplyBack(w.wide.get(), stride, rows, w.scratch.linear,
                                   AddResidual{to + PairRow(first), E_, middle, nullptr});
    });
  }

  // From w.cell[kRefinement]; uses w.narrow and w.wide.
  void RefinementGradient(const OwnStep& step, const TrainingPair* pairs, int count, int n,
                          float* to, const TrainingArrays<float>& gradients, Memory& w) const {
    const LayerState& s = w.layers[n];
    const TrainingLayout::Layer& slots = layout_.layers[n];
    ClearShut(s, kRefinement, count, to);
    ForOpen(s, kRefinement, count, [&](int first, int open) {
      const int rows = open * M_;
      const float* const gradient = w.cell[kRefinement].get() + PairRow(first);
      const float* const hidden = s.refine_hidden.get() + PairRow(first);
      const float* const modulated = s.modulated.get() + PairRow(first);
      float* const before = w.narrow.get() + PairRow(first);    // of fc_1's output
      float* const modulation = w.wide.get() + PairRow(first);  // of z
      const CellWeights<Linear>& layer = step.layers[n];
      TwoLayersGradient(slots.refine_in, layer.refine_in, slots.refine_out, layer.refine_out, rows,
                        gradient, modulated, hidden, before, gradients, w.scratch.linear,
                        StoreTo{modulation, E_});
      for (int t = first; t < first + open; ++t) {
        RefineAttentionGradient(step, pairs[t], n, t, to, gradients, w);
      }
    });
  }

  // One pair's, from the gradient of z, in w.wide; the residual's with it.
  void RefineAttentionGradient(const OwnStep& step, const TrainingPair& pair, int n, int t,
                               float* to, const TrainingArrays<float>& gradients, Memory& w) const {
    const LayerState& s = w.layers[n];
    const Context context = ContextOf(step, pair);
    const float* const input = s.input[kRefinement].get() + PairRow(t);
    const float* const turned = s.scale.get() + PairRow(t);
    const float* const residual = w.cell[kRefinement].get() + PairRow(t);
    const float* const shift = w.wide.get() + PairRow(t);  // dz, the shift's
    float* const scale = w.narrow.get() + PairRow(t);      // the scale's
    float* const at_input = to + PairRow(t);
    ForVectors(PairRow(1), [&](int64_t at, auto lanes) {
      const Vec of_z = Load(shift + at, lanes), tanh = Load(turned + at, lanes);
      const Vec slope = NegMulAdd(tanh, tanh, Set(1));
      Store(at_input + at, lanes, MulAdd(of_z, tanh, Load(residual + at, lanes)));
      Store(scale + at, lanes, of_z * Load(input + at, lanes) * slope);
    });
    const float* const shares = s.cross_shares.get() + int64_t{t} * M_ * CW_;
    const float* const normed = s.normed.get() + int64_t{t} * M_ * CW_;
    float* const scores = w.square.get();
    FloatProduct(Rows(scale, E_), RowMajor(ProjectedTransposed(context, n, 0), CW_), M_,
                 context.rows, E_, StoreTo{scores, CW_});
    FloatProduct(Rows(shift, E_), RowMajor(ProjectedTransposed(context, n, 1), CW_), M_,
                 context.rows, E_, AddTo{scores, CW_});
    const int64_t stride = int64_t{kProjections} * E_;
    float* const projected =
        gradients.projected + (int64_t{pair.context} * C_ * kProjections + 2 * n) * E_;
    FloatProduct(Columns(shares, CW_), RowMajor(scale, E_), context.rows, E_, M_,
                 AddTo{projected, stride});
    FloatProduct(Columns(shares, CW_), RowMajor(shift, E_), context.rows, E_, M_,
                 AddTo{projected + E_, stride});
    SoftmaxGradient(shares, scores, M_, context.rows, CW_, shape_.lambda);
    ScoresGradient(shape_.norm, normed, M_, context.rows, CW_,
                   s.norm_scale.get() + int64_t{t} * CW_, s.norm_factor.get() + int64_t{t} * CW_,
                   scores);
    FloatProduct(Rows(scores, CW_), RowMajor(context.values, E_), M_, E_, context.rows,
                 AddTo{at_input, E_});
    FloatProduct(Columns(scores, CW_), RowMajor(input, E_), context.rows, E_, M_,
                 AddTo{gradients.context + int64_t{pair.context} * C_ * E_, E_});
  }

  // From w.gate_gradient, by way of the means, to every position of the cells' inputs: `extra`.
  // Keeps in w.routers, from row w.router_rows on, what AddRouterGradients() takes.
  void RouterGradient(const OwnStep& step, int count, int n, Array<float>* extra, Memory& w) const {
    const LayerState& s = w.layers[n];
    const int paths = PathsOf(n);
    const int64_t row = w.router_rows;
    const Vec per_position = Set(1.0f / static_cast<float>(M_));
    for (int j = 0; j < kCells; ++j) {
      RouterRows& keep = w.routers[n - 1][j];
      float* const of_output = keep.of_output.get() + row * paths;
      float* const of_hidden = keep.of_hidden.get() + row * H_;
      for (int t = 0; t < count; ++t) {
        for (int i = 0; i < paths; ++i) of_output[t * paths + i] = w.gate_gradient[t][j][i];
      }
      std::memcpy(keep.means.get() + row * E_, s.means[j].get(), count * E_ * sizeof(float));
      std::memcpy(keep.hidden.get() + row * H_, s.hidden[j].get(), count * H_ * sizeof(float));
      FloatLinear::Scratch none;
      step.layers[n].router_output[j].MultiplyBack(
          of_output, paths, count, none, WhereRectifierOpen{of_hidden, H_, s.hidden[j].get()});
      step.layers[n].router_hidden[j].MultiplyBack(of_hidden, H_, count, none,
                                                   StoreTo{extra[j].get(), E_});
      ForVectors(int64_t{count} * E_, [&](int64_t at, auto lanes) {
        Store(extra[j].get() + at, lanes, per_position * Load(extra[j].get() + at, lanes));
      });
    }
  }

  // To the routers' weights, from the rows of w.routers, which are then free.
  void AddRouterGradients(const TrainingArrays<float>& gradients, Memory& w) const {
    FloatLinear::Scratch none;
    for (int n = 1; n < kLayers; ++n) {
      for (int j = 0; j < kCells; ++j) {
        const RouterRows& rows = w.routers[n - 1][j];
        AddLinearGradient<FloatLinear>(layout_.layers[n].router_output[j], rows.of_output.get(),
                                       PathsOf(n), rows.hidden.get(), H_, w.router_rows,
                                       gradients.weights, none);
        AddLinearGradient<FloatLinear>(layout_.layers[n].router_hidden[j], rows.of_hidden.get(), H_,
                                       rows.means.get(), E_, w.router_rows, gradients.weights,
                                       none);
      }
    }
    w.router_rows = 0;
  }

  // Of layer 0's mixing, from those of layer 1's inputs (w.flow[0], w.extra[0]); the refinement
  // cell's output's is left in w.cell[kRefinement].
  void MixFirstGradient(const OwnStep& step, const TrainingPair& pair, int t,
                        const TrainingArrays<float>& gradients, Memory& w) const {
    const TrainingInputs& in = step.inputs;
    const int64_t item = pair.local, sequence = PairRow(1);
    const float* const sign = in.guide_sign + int64_t{pair.context} * E_;
    const float* const guided = in.guided + item * sequence;
    const float* const refined = w.layers[0].refined.get() + PairRow(t);
    float* const base_gradient = gradients.base + item * kCells * sequence;
    float* const guided_gradient = gradients.guided + item * sequence;
    float* const refined_gradient = w.cell[kRefinement].get() + PairRow(t);
    const float* flows[kCells];
    for (int i = 0; i < kCells; ++i) flows[i] = w.flow[0][i].get() + PairRow(t);
    const float* const guided_share = in.guided_share + item * kCells;
    const float* const refined_share = in.refined_share + item * kCells;
    Vec guided_dots[kCells], refined_dots[kCells];
    for (int i = 0; i < kCells; ++i) {
      guided_dots[i] = refined_dots[i] = Zero();
    }
    ForVectors(E_, [&](int64_t e, auto lanes) {
      const Vec turn = Load(sign + e, lanes);
      Vec extra[kCells];
      for (int i = 0; i < kCells; ++i) {
        extra[i] = Load(w.extra[0][i].get() + int64_t{t} * E_ + e, lanes);
      }
      for (int64_t at = e; at < sequence; at += E_) {
        const Vec turned = turn * Load(guided + at, lanes);
        const Vec output = Load(refined + at, lanes);
        Vec for_guided = Zero(), for_refined = Zero();
        for (int i = 0; i < kCells; ++i) {
          const Vec flow = Load(flows[i] + at, lanes) + extra[i];
          Accumulate(base_gradient + i * sequence + at, lanes, flow);
          for_guided = MulAdd(Set(guided_share[i]), flow, for_guided);
          for_refined = MulAdd(Set(refined_share[i]), flow, for_refined);
          guided_dots[i] = MulAdd(turned, flow, guided_dots[i]);
          refined_dots[i] = MulAdd(output, flow, refined_dots[i]);
        }
        Accumulate(guided_gradient + at, lanes, turn * for_guided);
        Store(refined_gradient + at, lanes, for_refined);
      }
    });
    for (int i = 0; i < kCells; ++i) {
      gradients.guided_share[item * kCells + i] += Sum(guided_dots[i]);
      gradients.refined_share[item * kCells + i] += Sum(refined_dots[i]);
    }
  }

  const InteractionShape shape_;
  const TrainingLayout layout_;
  const int M_, C_, E_, F_, H_;
  const int heads_, head_;
  const int pairs_;                     // that go through the layers together
  const FloatForward<Linear> forward_;  // keeps what the backward pass needs
  const FloatForward<Linear> passing_;  // keeps nothing
  const int MW_, CW_;
};

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_FLOAT_TRAINING_KERNEL_H_
