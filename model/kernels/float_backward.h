#ifndef DIME_MODEL_KERNELS_FLOAT_BACKWARD_H_
#define DIME_MODEL_KERNELS_FLOAT_BACKWARD_H_

#include <cstdint>
#include <cstring>
#include <memory>

#include "model/kernels/array.h"
#include "model/kernels/float_forward.h"
#include "model/kernels/float_linear.h"
#include "model/kernels/float_product.h"
#include "model/kernels/float_rows.h"
#include "model/kernels/float_training_step.h"
#include "model/kernels/float_vector.h"
#include "model/kernels/score_norms.h"
#include "model/kernels/training_kernel.h"

// The gradients of what float_forward.h computes: DIME's mixing, cells and routers, a few pairs at
// a time. For the units that float_vector.h is for; in an unnamed namespace for the same reason.
namespace dime::kernels {
namespace {

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

// What a backward pass needs. Sequences have a row for each pair and position.
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

// A layer's backward passes, of one shape. Immutable, hence thread-safe; a BackwardMemory is for
// one thread at a time.
template <class Linear>
class FloatBackward {
 public:
  using OwnStep = TrainingStep<Linear>;
  using Memory = BackwardMemory<Linear>;

  // `pairs`: that go through the layers together; `forward`: which keeps what is needed of them.
  FloatBackward(const InteractionShape& shape, int pairs, const FloatForward<Linear>& forward)
      : shape_(shape),
        layout_(shape),
        M_(shape.positions),
        C_(shape.max_context),
        E_(shape.embed_size),
        F_(shape.feed_forward_size),
        H_(shape.router_size),
        heads_(shape.num_heads),
        head_(shape.embed_size / shape.num_heads),
        pairs_(pairs),
        forward_(forward),
        MW_(forward.position_stride()),
        CW_(forward.context_stride()) {}

  std::unique_ptr<Memory> MakeMemory() const {
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

  // Layer n, 1 or 2: from the gradients of what flows along its paths, which the layer above left
  // in w.flow and w.extra, those of its inputs, for the layer below. `path_gradients`: of each
  // pair's path weights, as PairSummaries has them. The routers' own are AddRouterGradients()'
  // work.
  void Layer(const OwnStep& step, const TrainingPair* pairs, int count, int n,
             const float* path_gradients, const TrainingArrays<float>& gradients, Memory& w) const {
    // What came from the layer above is in one half of `flow`, what goes down in the other.
    Array<float>* const from = w.flow[n % 2 == 0 ? 0 : 1];
    Array<float>* const to = w.flow[n % 2 == 0 ? 1 : 0];
    Array<float>* const from_extra = w.extra[n % 2 == 0 ? 0 : 1];
    Array<float>* const to_extra = w.extra[n % 2 == 0 ? 1 : 0];
    for (int t = 0; t < count; ++t) {
      const float* const sign = step.ContextOf(pairs[t]).sign;
      const float* const paths = path_gradients + int64_t{t} * kPathWeights;
      if (n == 1) {
        MixGradient<kCells>(n, t, sign, paths, from, from_extra, to, w);
      } else {
        MixGradient<1>(n, t, sign, paths + kCells * kCells, from, from_extra, to, w);
      }
    }
    GuidanceGradient(step, count, n, to[kGuidance].get(), gradients, w);
    ReasoningGradient(step, count, n, to[kReasoning].get(), gradients, w);
    Refinement(step, pairs, count, n, to[kRefinement].get(), gradients, w);
    if (n == kLayers - 1) {
      for (int t = 0; t < count; ++t) BypassGradient(t, from[0].get(), to, w);
    }
    RouterGradient(step, count, n, to_extra, w);
  }

  // Any layer's refinement cell: from the gradient of its output, w.cell[kRefinement], that of its
  // input, `to`. Uses w.narrow and w.wide.
  void Refinement(const OwnStep& step, const TrainingPair* pairs, int count, int n, float* to,
                  const TrainingArrays<float>& gradients, Memory& w) const {
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

 private:
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

  // One pair's, from the gradient of z, in w.wide; the residual's with it.
  void RefineAttentionGradient(const OwnStep& step, const TrainingPair& pair, int n, int t,
                               float* to, const TrainingArrays<float>& gradients, Memory& w) const {
    const LayerState& s = w.layers[n];
    const auto context = step.ContextOf(pair);
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
    FloatProduct(Rows(scale, E_), RowMajor(step.ProjectedTransposed(context, n, 0), CW_), M_,
                 context.rows, E_, StoreTo{scores, CW_});
    FloatProduct(Rows(shift, E_), RowMajor(step.ProjectedTransposed(context, n, 1), CW_), M_,
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

  const InteractionShape shape_;
  const TrainingLayout layout_;
  const int M_, C_, E_, F_, H_;
  const int heads_, head_;
  const int pairs_;
  const FloatForward<Linear> forward_;
  const int MW_, CW_;
};

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_FLOAT_BACKWARD_H_
