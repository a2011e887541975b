// Compiled for AVX-512 (see CMakeLists.txt), entered only where TrainingKernel::IsSupported().
// Nothing here may instantiate inline functions of the standard library that other units share.
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "model/kernels/array.h"
#include "model/kernels/float_product.h"
#include "model/kernels/float_rows.h"
#include "model/kernels/score_norms.h"
#include "model/kernels/training_kernel.h"
#include "model/kernels/vector_math.h"

namespace dime::kernels {

std::unique_ptr<TrainingKernel> CreateAvx512TrainingKernel(const InteractionShape& shape);

namespace {

constexpr int kCells = 4;
constexpr int kLayers = 3;
constexpr int kGuidance = 1, kReasoning = 2, kRefinement = 3;  // cells; 0 rectifies
constexpr int kProjections = 2 * kLayers;                      // of a context
constexpr int kPathWeights = 20;                               // of layers 1 and 2
// Pairs that go through the layers together: so many that their state, some 60 sequences, leaves
// room for the weights and their gradients in the second-level cache (2 MB). Weights that do not
// fit are read once for a few pairs. Measured.
constexpr int kMostPairs = 8;
constexpr int64_t kStateBytes = 1200000;
constexpr int64_t kCachedWeights = 1 << 18;  // floats
constexpr int kPairsBeyond = 4;
constexpr float kShut = 1e-4f;  // below this a path's gates count as shut

// Gates of one pair and layer, and what mixing makes of them.
struct Routing {
  float gate[kCells][kCells] = {};    // [cell][path]
  float share[kCells][kCells] = {};   // [path][cell]: p, or in the last layer q / total
  float weight[kCells][kCells] = {};  // the same with the skip
  float total[kCells] = {};           // of a path: what its gates were divided by
  float bypass[kCells] = {};          // last layer: o / total, how much of cell j's input goes on
  bool open[kCells] = {};             // whether anything flows through the cell

  void Mix() {
    for (int i = 0; i < kCells; ++i) {
      float sum = 0;
      for (int j = 0; j < kCells; ++j) sum += gate[j][i];
      total[i] = sum + 1e-8f;
      for (int j = 0; j < kCells; ++j) weight[i][j] = share[i][j] = gate[j][i] / total[i];
      if (sum < kShut) weight[i][0] += 1;
    }
    for (int j = 0; j < kCells; ++j) {
      open[j] = gate[j][0] > 0 || gate[j][1] > 0 || gate[j][2] > 0 || gate[j][3] > 0;
    }
  }
  void MixLast() {
    float sum = 0;
    for (int j = 0; j < kCells; ++j) {
      bypass[j] = gate[j][0] < kShut / kCells ? 1 : 0;
      sum += gate[j][0] + bypass[j];
    }
    total[0] = sum;
    for (int j = 0; j < kCells; ++j) {
      weight[0][j] = share[0][j] = gate[j][0] / sum;
      bypass[j] /= sum;
      open[j] = gate[j][0] > 0;
    }
  }
};

// What one layer's forward pass leaves for its backward pass. Sequences have a row for each pair
// and position; of layer 0 there is the refinement cell alone.
struct LayerState {
  Array<float> input[kCells];   // (rows, E)
  Array<float> means[kCells];   // (pairs, E) over an input's positions
  Array<float> hidden[kCells];  // (pairs, router size)
  // Guidance: Linear_fc_1(Z) normalised along the positions, and 1 / norm, (pairs, E).
  Array<float> unit, unit_scale;
  // Reasoning.
  Array<float> attention;    // (rows, 3 E): query, key, value
  Array<float> self_shares;  // (pairs, heads, M, M16)
  Array<float> attended;     // (rows, E): Z + MHA(Z)
  Array<float> feed;         // (rows, feed-forward size)
  Array<float> reasoned;     // (rows, E)
  // Refinement.
  Array<float> normed;                   // (pairs, M, C16): N, raw scores normalised
  Array<float> norm_scale, norm_factor;  // (pairs, C16), see NormalizeScores()
  Array<float> cross_shares;             // (pairs, M, C16): P
  Array<float> scale;                    // (rows, E): tanh(P scale)
  Array<float> modulated;                // (rows, E): z
  Array<float> refine_hidden;            // (rows, E)
  Array<float> refined;                  // (rows, E)
  Routing routing[kMostPairs];
};

class WorkspaceImpl : public TrainingKernel::Workspace {
 public:
  LayerState layers[kLayers];
  Array<float> output;            // (rows, E): Y
  Array<float> flow[2][kCells];   // (rows, E): gradients of layers' inputs, by turns
  Array<float> extra[2][kCells];  // (pairs, E): what every position's gradient has besides
  Array<float> cell[kCells];      // (rows, E): gradients of cells' outputs
  Array<float> wide;              // (rows, 3 E or feed-forward size)
  Array<float> narrow, narrow2;   // (rows, E)
  Array<float> transposed;        // (E, M16): keys or values
  Array<float> square;            // (M, M16 or C16)
  Array<float> gates;             // (pairs, 4)
  Array<float> router_hidden;     // (pairs, router size)
  float gate_gradient[kMostPairs][kCells][kCells];  // [pair][cell][path], before relu(tanh)
};

class StepImpl : public TrainingKernel::Step {
 public:
  TrainingInputs inputs;
  Array<float> weights;   // as TrainingLayout has them, but (in, out)
  Array<float> contexts;  // (items, 1 + projections, E, C16): context and projections, transposed
};

class KernelImpl : public TrainingKernel {
 public:
  explicit KernelImpl(const InteractionShape& shape)
      : shape_(shape),
        layout_(shape),
        M_(shape.positions),
        C_(shape.max_context),
        E_(shape.embed_size),
        F_(shape.feed_forward_size),
        H_(shape.router_size),
        heads_(shape.num_heads),
        head_(shape.embed_size / shape.num_heads),
        M16_(static_cast<int>(RoundUp(M_, 16))),
        C16_(static_cast<int>(RoundUp(C_, 16))) {
    const int64_t pair_bytes = int64_t{60} * M_ * E_ * static_cast<int64_t>(sizeof(float));
    const int64_t least = layout_.size > kCachedWeights ? kPairsBeyond : 1;
    pairs_ = Lesser(kMostPairs, static_cast<int>(Greater(kStateBytes / pair_bytes, least)));
  }

  std::unique_ptr<Workspace> MakeWorkspace() const override {
    auto* const w = new WorkspaceImpl;
    const int64_t rows = int64_t{pairs_} * M_, sequence = rows * E_, summary = int64_t{pairs_} * E_;
    const int64_t cross = rows * C16_;
    for (int n = 0; n < kLayers; ++n) {
      LayerState& s = w->layers[n];
      s.input[kRefinement].Resize(sequence);
      for (Array<float>* a : {&s.scale, &s.modulated, &s.refine_hidden, &s.refined}) {
        a->Resize(sequence);
      }
      s.normed.Resize(cross);
      s.cross_shares.Resize(cross);
      s.norm_scale.Resize(int64_t{pairs_} * C16_);
      s.norm_factor.Resize(int64_t{pairs_} * C16_);
      if (n == 0) continue;
      for (int j = 0; j < kCells; ++j) {
        if (j != kRefinement) s.input[j].Resize(sequence);
        s.means[j].Resize(summary);
        s.hidden[j].Resize(int64_t{pairs_} * H_);
      }
      for (Array<float>* a : {&s.unit, &s.attended, &s.reasoned}) a->Resize(sequence);
      s.unit_scale.Resize(summary);
      s.attention.Resize(3 * sequence);
      s.self_shares.Resize(rows * heads_ * M16_);
      s.feed.Resize(rows * F_);
    }
    for (Array<float>* a : {&w->output, &w->narrow, &w->narrow2}) a->Resize(sequence);
    for (int j = 0; j < kCells; ++j) {
      w->cell[j].Resize(sequence);
      for (int k = 0; k < 2; ++k) {
        w->flow[k][j].Resize(sequence);
        w->extra[k][j].Resize(summary);
      }
    }
    w->wide.Resize(Greater(3 * sequence, rows * F_));
    w->transposed.Resize(int64_t{E_} * M16_);
    w->square.Resize(int64_t{M_} * Greater(M16_, C16_));
    w->gates.Resize(int64_t{pairs_} * kCells);
    w->router_hidden.Resize(int64_t{pairs_} * H_);
    return std::unique_ptr<Workspace>(w);
  }

  std::unique_ptr<Step> MakeStep(const TrainingInputs& inputs) const override {
    auto* const step = new StepImpl;
    step->inputs = inputs;
    step->weights.Resize(layout_.size);
    const auto turn = [&](const TrainingSlot& slot) {
      TransposeTo(inputs.weights + slot.weight, slot.in, slot.out, slot.in,
                  step->weights.get() + slot.weight, slot.out);
    };
    for (int n = 0; n < kLayers; ++n) {
      const TrainingLayout::Layer& layer = layout_.layers[n];
      turn(layer.refine_in);
      turn(layer.refine_out);
      if (n == 0) continue;
      for (int j = 0; j < kCells; ++j) {
        turn(layer.router_hidden[j]);
        turn(layer.router_output[j]);
      }
      turn(layer.guidance);
      turn(layer.attention);
      turn(layer.feed_in);
      turn(layer.feed_out);
    }
    const int64_t one = int64_t{E_} * C16_;
    step->contexts.Resize(inputs.num_contexts * (1 + kProjections) * one);
    for (int64_t c = 0; c < inputs.num_contexts; ++c) {
      const int rows = static_cast<int>(inputs.context_rows[c]);
      float* const to = step->contexts.get() + c * (1 + kProjections) * one;
      TransposeTo(inputs.context + c * C_ * E_, E_, rows, E_, to, C16_);
      for (int p = 0; p < kProjections; ++p) {
        TransposeTo(inputs.projected + (c * C_ * kProjections + p) * E_, kProjections * E_, rows,
                    E_, to + (1 + p) * one, C16_);
      }
    }
    return std::unique_ptr<Step>(step);
  }

  void Forward(const Step& step, const TrainingPair* pairs, int count,
               const PairSummaries<float>& out, Workspace& workspace) const override {
    const auto& inputs = static_cast<const StepImpl&>(step);
    auto& w = static_cast<WorkspaceImpl&>(workspace);
    for (int first = 0; first < count; first += pairs_) {
      const int n = Lesser(pairs_, count - first);
      RunForward(inputs, pairs + first, n, w);
      for (int t = 0; t < n; ++t) Summarize(w, t, first + t, out);
    }
  }

  void Backward(const Step& step, const TrainingPair* pairs, int count,
                const PairSummaries<const float>& given, const TrainingArrays<float>& gradients,
                Workspace& workspace) const override {
    const auto& inputs = static_cast<const StepImpl&>(step);
    auto& w = static_cast<WorkspaceImpl&>(workspace);
    for (int first = 0; first < count; first += pairs_) {
      const int n = Lesser(pairs_, count - first);
      RunForward(inputs, pairs + first, n, w);
      RunBackward(inputs, pairs + first, n, first, given, gradients, w);
    }
  }

 private:
  // One pair's context as the refinement cells take it.
  struct Context {
    int rows;
    const float* values;      // (C, E)
    const float* transposed;  // (E, C16)
    const float* sign;        // (E)
  };
  Context ContextOf(const StepImpl& step, const TrainingPair& pair) const {
    const int64_t c = pair.context;
    return {static_cast<int>(step.inputs.context_rows[c]), step.inputs.context + c * C_ * E_,
            step.contexts.get() + c * (1 + kProjections) * E_ * C16_,
            step.inputs.guide_sign + c * E_};
  }
  // A layer's scale (0) or shift (1) of a context: rows 6 E apart.
  const float* Projected(const StepImpl& step, const TrainingPair& pair, int layer,
                         int which) const {
    return step.inputs.projected +
           (int64_t{pair.context} * C_ * kProjections + 2 * layer + which) * E_;
  }
  const float* ProjectedTransposed(const Context& context, int layer, int which) const {
    return context.transposed + int64_t{1 + 2 * layer + which} * E_ * C16_;
  }
  int64_t PairRow(int t) const { return int64_t{t} * M_ * E_; }  // floats before pair t's sequence

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
  // A shut cell's sequence, which is mixed with a weight of zero.
  void ClearShut(const LayerState& s, int cell, int count, float* sequence) const {
    for (int t = 0; t < count; ++t) {
      if (!s.routing[t].open[cell]) {
        std::memset(sequence + PairRow(t), 0, int64_t{M_} * E_ * sizeof(float));
      }
    }
  }

  // ---- Forward ----

  void RunForward(const StepImpl& step, const TrainingPair* pairs, int count,
                  WorkspaceImpl& w) const {
    LayerState& first = w.layers[0];
    for (int t = 0; t < count; ++t) {
      const float* const share = step.inputs.refined_share + int64_t{pairs[t].local} * kCells;
      first.routing[t].open[kRefinement] =
          share[0] > 0 || share[1] > 0 || share[2] > 0 || share[3] > 0;
      std::memcpy(first.input[kRefinement].get() + PairRow(t),
                  step.inputs.local + pairs[t].local * PairRow(1), PairRow(1) * sizeof(float));
    }
    Refine(step, pairs, count, 0, w);
    for (int t = 0; t < count; ++t) MixFirst(step, pairs[t], t, w);
    for (int n = 1; n < kLayers; ++n) {
      LayerState& s = w.layers[n];
      Route(step, count, n, w);
      Guide(step, count, n, w);
      Reason(step, count, n, w);
      Refine(step, pairs, count, n, w);
      for (int t = 0; t < count; ++t) {
        const float* const sign = ContextOf(step, pairs[t]).sign;
        if (n == 1) {
          float* to[kCells];
          float* mean[kCells];
          for (int i = 0; i < kCells; ++i) {
            to[i] = w.layers[2].input[i].get() + PairRow(t);
            mean[i] = w.layers[2].means[i].get() + int64_t{t} * E_;
          }
          Mix<kCells>(s, t, sign, to, mean);
        } else {
          float* const to[] = {w.output.get() + PairRow(t)};
          Mix<1>(s, t, sign, to, nullptr);
          Bypass(s, t, to[0]);
        }
      }
    }
  }

  // Layer 1's inputs and their means, from what layer 0 gives for either side and for the pair.
  void MixFirst(const StepImpl& step, const TrainingPair& pair, int t, WorkspaceImpl& w) const {
    const TrainingInputs& in = step.inputs;
    const int64_t item = pair.local, sequence = PairRow(1);
    const float* const sign = in.guide_sign + int64_t{pair.context} * E_;
    const float* const guided = in.guided + item * sequence;
    const float* const refined = w.layers[0].refined.get() + PairRow(t);
    const __m512 per_position = _mm512_set1_ps(1.0f / static_cast<float>(M_));
    for (int i = 0; i < kCells; ++i) {
      const float* const base = in.base + (item * kCells + i) * sequence;
      float* const to = w.layers[1].input[i].get() + PairRow(t);
      float* const mean = w.layers[1].means[i].get() + int64_t{t} * E_;
      const __m512 guided_share = _mm512_set1_ps(in.guided_share[item * kCells + i]);
      const __m512 refined_share = _mm512_set1_ps(in.refined_share[item * kCells + i]);
      ForVectors(E_, [&](int64_t e, __mmask16 mask) {
        const __m512 turned = _mm512_mul_ps(guided_share, Load(sign + e, mask));
        __m512 sum = _mm512_setzero_ps();
        for (int64_t at = e; at < sequence; at += E_) {
          __m512 x = Load(base + at, mask);
          x = _mm512_fmadd_ps(turned, Load(guided + at, mask), x);
          x = _mm512_fmadd_ps(refined_share, Load(refined + at, mask), x);
          Store(to + at, mask, x);
          sum = _mm512_add_ps(sum, x);
        }
        Store(mean + e, mask, _mm512_mul_ps(sum, per_position));
      });
    }
  }

  // Gates of a layer from the means of its inputs.
  void Route(const StepImpl& step, int count, int n, WorkspaceImpl& w) const {
    LayerState& s = w.layers[n];
    const int paths = n == 1 ? kCells : 1;
    for (int j = 0; j < kCells; ++j) {
      const TrainingSlot& hidden = layout_.layers[n].router_hidden[j];
      const TrainingSlot& output = layout_.layers[n].router_output[j];
      FloatProduct(Rows(s.means[j].get(), E_), step.weights.get() + hidden.weight, H_, count, H_,
                   E_, AddBiasAndRectify{s.hidden[j].get(), H_, step.inputs.weights + hidden.bias});
      FloatProduct(Rows(s.hidden[j].get(), H_), step.weights.get() + output.weight, paths, count,
                   paths, H_, AddBias{w.gates.get(), paths, step.inputs.weights + output.bias});
      ForVectors(int64_t{count} * paths, [&](int64_t at, __mmask16 mask) {
        const __m512 gate = Tanh(Load(w.gates.get() + at, mask));
        Store(w.gates.get() + at, mask, _mm512_max_ps(_mm512_setzero_ps(), gate));
      });
      for (int t = 0; t < count; ++t) {
        for (int i = 0; i < paths; ++i) s.routing[t].gate[j][i] = w.gates.get()[t * paths + i];
      }
    }
    for (int t = 0; t < count; ++t) {
      if (paths == 1) {
        s.routing[t].MixLast();
      } else {
        s.routing[t].Mix();
      }
    }
  }

  // Guidance: F = Linear_fc_1(Z), normalised for each channel along the positions. The guide acts
  // by its sign alone (dime-model.md, 9), where the cell's output is taken.
  void Guide(const StepImpl& step, int count, int n, WorkspaceImpl& w) const {
    LayerState& s = w.layers[n];
    const TrainingSlot& slot = layout_.layers[n].guidance;
    ClearShut(s, kGuidance, count, s.unit.get());
    ForOpen(s, kGuidance, count, [&](int first, int pairs) {
      FloatProduct(Rows(s.input[kGuidance].get() + PairRow(first), E_),
                   step.weights.get() + slot.weight, E_, pairs * M_, E_, E_,
                   AddBias{s.unit.get() + PairRow(first), E_, step.inputs.weights + slot.bias});
      for (int t = first; t < first + pairs; ++t) {
        float* const unit = s.unit.get() + PairRow(t);
        float* const scales = s.unit_scale.get() + int64_t{t} * E_;
        ForVectors(E_, [&](int64_t e, __mmask16 mask) {
          __m512 squares = _mm512_setzero_ps();
          for (int64_t at = e; at < PairRow(1); at += E_) {
            const __m512 x = Load(unit + at, mask);
            squares = _mm512_fmadd_ps(x, x, squares);
          }
          const __m512 scale = InverseNorm(squares);
          for (int64_t at = e; at < PairRow(1); at += E_) {
            Store(unit + at, mask, _mm512_mul_ps(scale, Load(unit + at, mask)));
          }
          Store(scales + e, mask, scale);
        });
      }
    });
  }
  void Reason(const StepImpl& step, int count, int n, WorkspaceImpl& w) const {
    LayerState& s = w.layers[n];
    const TrainingLayout::Layer& slots = layout_.layers[n];
    const float* const biases = step.inputs.weights;
    const float factor = SelfFactor();
    ClearShut(s, kReasoning, count, s.reasoned.get());
    ForOpen(s, kReasoning, count, [&](int first, int pairs) {
      const float* const input = s.input[kReasoning].get() + PairRow(first);
      const int rows = pairs * M_;
      FloatProduct(
          Rows(input, E_), step.weights.get() + slots.attention.weight, 3 * E_, rows, 3 * E_, E_,
          AddBias{s.attention.get() + 3 * PairRow(first), 3 * E_, biases + slots.attention.bias});
      for (int t = first; t < first + pairs; ++t) {
        const float* const attention = s.attention.get() + 3 * PairRow(t);
        float* const attended = s.attended.get() + PairRow(t);
        TransposeTo(attention + E_, 3 * E_, M_, E_, w.transposed.get(), M16_);  // keys
        for (int h = 0; h < heads_; ++h) {
          float* const shares = SelfShares(s, t, h);
          FloatProduct(Rows(attention + h * head_, 3 * E_), w.transposed.get() + h * head_ * M16_,
                       M16_, M_, M_, head_, StoreTo{shares, M16_});
          Softmax(shares, M_, M_, M16_, factor);
          FloatProduct(Rows(shares, M16_), attention + 2 * E_ + h * head_, 3 * E_, M_, head_, M_,
                       AddResidual{attended + h * head_, E_,
                                   s.input[kReasoning].get() + PairRow(t) + h * head_, nullptr});
        }
      }
      const float* const attended = s.attended.get() + PairRow(first);
      float* const feed = s.feed.get() + int64_t{first} * M_ * F_;
      TwoLayers(step, slots.feed_in, slots.feed_out, rows, attended, feed, attended,
                s.reasoned.get() + PairRow(first));
    });
  }
  // hidden = relu(in(x)); to = residual + out(hidden).
  void TwoLayers(const StepImpl& step, const TrainingSlot& in, const TrainingSlot& out, int rows,
                 const float* x, float* hidden, const float* residual, float* to) const {
    FloatProduct(Rows(x, in.in), step.weights.get() + in.weight, in.out, rows, in.out, in.in,
                 AddBiasAndRectify{hidden, in.out, step.inputs.weights + in.bias});
    FloatProduct(Rows(hidden, in.out), step.weights.get() + out.weight, out.out, rows, out.out,
                 out.in, AddResidual{to, out.out, residual, step.inputs.weights + out.bias});
  }
  float SelfFactor() const {  // 1 / sqrt(head size)
    return _mm512_cvtss_f32(_mm512_sqrt_ps(_mm512_set1_ps(1.0f / static_cast<float>(head_))));
  }
  float* SelfShares(const LayerState& s, int t, int head) const {
    return s.self_shares.get() + (int64_t{t} * heads_ + head) * M_ * M16_;
  }

  void Refine(const StepImpl& step, const TrainingPair* pairs, int count, int n,
              WorkspaceImpl& w) const {
    LayerState& s = w.layers[n];
    const TrainingLayout::Layer& slots = layout_.layers[n];
    ClearShut(s, kRefinement, count, s.refined.get());
    ForOpen(s, kRefinement, count, [&](int first, int open) {
      for (int t = first; t < first + open; ++t) {
        const Context context = ContextOf(step, pairs[t]);
        const float* const input = s.input[kRefinement].get() + PairRow(t);
        float* const normed = s.normed.get() + int64_t{t} * M_ * C16_;
        float* const shares = s.cross_shares.get() + int64_t{t} * M_ * C16_;
        FloatProduct(Rows(input, E_), context.transposed, C16_, M_, context.rows, E_,
                     StoreTo{normed, C16_});
        NormalizeScores(shape_.norm, normed, M_, context.rows, C16_,
                        s.norm_scale.get() + int64_t{t} * C16_,
                        s.norm_factor.get() + int64_t{t} * C16_);
        std::memcpy(shares, normed, int64_t{M_} * C16_ * sizeof(float));
        Softmax(shares, M_, context.rows, C16_, shape_.lambda);
        float* const scale = s.scale.get() + PairRow(t);
        float* const modulated = s.modulated.get() + PairRow(t);
        const int64_t stride = int64_t{kProjections} * E_;
        FloatProduct(Rows(shares, C16_), Projected(step, pairs[t], n, 0), stride, M_, E_,
                     context.rows, StoreTo{scale, E_});
        FloatProduct(Rows(shares, C16_), Projected(step, pairs[t], n, 1), stride, M_, E_,
                     context.rows, StoreTo{modulated, E_});
        ForVectors(PairRow(1), [&](int64_t at, __mmask16 mask) {
          const __m512 turned = Tanh(Load(scale + at, mask));
          Store(scale + at, mask, turned);
          Store(modulated + at, mask,
                _mm512_fmadd_ps(turned, Load(input + at, mask), Load(modulated + at, mask)));
        });
      }
      float* const hidden = s.refine_hidden.get() + PairRow(first);
      TwoLayers(step, slots.refine_in, slots.refine_out, open * M_,
                s.modulated.get() + PairRow(first), hidden,
                s.input[kRefinement].get() + PairRow(first), s.refined.get() + PairRow(first));
    });
  }

  // What a layer's cells give for pair t, 16 channels of one position.
  struct Outputs {
    __m512 of[kCells];
  };
  struct Sequences {
    const float* input[2];  // RIC's and GLGC's
    const float* unit;
    const float* reasoned;
    const float* refined;
    // `sign`: of the guide, the same channels.
    Outputs At(int64_t at, __mmask16 mask, __m512 sign) const {
      const __m512 second = Load(input[1] + at, mask);
      return {{_mm512_max_ps(_mm512_setzero_ps(), Load(input[0] + at, mask)),
               _mm512_fmadd_ps(_mm512_mul_ps(second, sign), Load(unit + at, mask), second),
               Load(reasoned + at, mask), Load(refined + at, mask)}};
    }
  };
  Sequences SequencesOf(const LayerState& s, int t) const {
    return {{s.input[0].get() + PairRow(t), s.input[1].get() + PairRow(t)},
            s.unit.get() + PairRow(t),
            s.reasoned.get() + PairRow(t),
            s.refined.get() + PairRow(t)};
  }

  // What flows along each path, and, unless `means` is null, its means over the positions.
  template <int kPaths>
  void Mix(const LayerState& s, int t, const float* sign, float* const* to,
           float* const* means) const {
    const Sequences cells = SequencesOf(s, t);
    const Routing& routing = s.routing[t];
    const __m512 per_position = _mm512_set1_ps(1.0f / static_cast<float>(M_));
    ForVectors(E_, [&](int64_t e, __mmask16 mask) {
      const __m512 turn = Load(sign + e, mask);
      __m512 sums[kPaths];
      for (int i = 0; i < kPaths; ++i) sums[i] = _mm512_setzero_ps();
      for (int64_t at = e; at < PairRow(1); at += E_) {
        const Outputs outputs = cells.At(at, mask, turn);
        for (int i = 0; i < kPaths; ++i) {
          __m512 x = _mm512_mul_ps(_mm512_set1_ps(routing.weight[i][0]), outputs.of[0]);
          for (int j = 1; j < kCells; ++j) {
            x = _mm512_fmadd_ps(_mm512_set1_ps(routing.weight[i][j]), outputs.of[j], x);
          }
          Store(to[i] + at, mask, x);
          sums[i] = _mm512_add_ps(sums[i], x);
        }
      }
      if (means == nullptr) return;
      for (int i = 0; i < kPaths; ++i) {
        Store(means[i] + e, mask, _mm512_mul_ps(sums[i], per_position));
      }
    });
  }

  // The last layer's cells that are shut hand their inputs on.
  void Bypass(const LayerState& s, int t, float* to) const {
    for (int j = 0; j < kCells; ++j) {
      if (s.routing[t].bypass[j] == 0) continue;
      const __m512 weight = _mm512_set1_ps(s.routing[t].bypass[j]);
      const float* const input = s.input[j].get() + PairRow(t);
      ForVectors(PairRow(1), [&](int64_t at, __mmask16 mask) {
        Accumulate(to + at, mask, _mm512_mul_ps(weight, Load(input + at, mask)));
      });
    }
  }

  // 16 channels of a sequence over its positions.
  struct Pooled {
    __m512 mean, most, least;
  };
  Pooled PoolChannels(const float* y, int64_t e, __mmask16 mask) const {
    __m512 sum = _mm512_setzero_ps(), most = Load(y + e, mask), least = most;
    for (int64_t at = e; at < PairRow(1); at += E_) {
      const __m512 x = Load(y + at, mask);
      sum = _mm512_add_ps(sum, x);
      most = _mm512_max_ps(most, x);
      least = _mm512_min_ps(least, x);
    }
    return {_mm512_mul_ps(sum, _mm512_set1_ps(1.0f / static_cast<float>(M_))), most, least};
  }

  void Summarize(const WorkspaceImpl& w, int t, int64_t row,
                 const PairSummaries<float>& out) const {
    const float* const y = w.output.get() + PairRow(t);
    const __m512 per_position = _mm512_set1_ps(1.0f / static_cast<float>(M_));
    ForVectors(E_, [&](int64_t e, __mmask16 mask) {
      const auto [mean, most, least] = PoolChannels(y, e, mask);
      __m512 squares = _mm512_setzero_ps();
      for (int64_t at = e; at < PairRow(1); at += E_) {
        const __m512 distance = _mm512_sub_ps(Load(y + at, mask), mean);
        squares = _mm512_fmadd_ps(distance, distance, squares);
      }
      Store(out.mean + row * E_ + e, mask, mean);
      Store(out.maximum + row * E_ + e, mask, most);
      Store(out.minimum + row * E_ + e, mask, least);
      Store(out.spread + row * E_ + e, mask, _mm512_mul_ps(squares, per_position));
    });
    float* const paths = out.paths + row * kPathWeights;
    for (int i = 0; i < kCells; ++i) {
      for (int j = 0; j < kCells; ++j) {
        paths[i * kCells + j] = w.layers[1].routing[t].share[i][j];
      }
      paths[kCells * kCells + i] = w.layers[2].routing[t].gate[i][0];
    }
  }

  // ---- Backward ----

  void RunBackward(const StepImpl& step, const TrainingPair* pairs, int count, int64_t first_row,
                   const PairSummaries<const float>& given, const TrainingArrays<float>& gradients,
                   WorkspaceImpl& w) const {
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
      RouterGradient(step, count, n, to_extra, gradients, w);
    }
    for (int t = 0; t < count; ++t) MixFirstGradient(step, pairs[t], t, gradients, w);
    RefinementGradient(step, pairs, count, 0, w.narrow2.get(), gradients, w);
    for (int t = 0; t < count; ++t) {
      if (!w.layers[0].routing[t].open[kRefinement]) continue;
      float* const to = gradients.local + pairs[t].local * PairRow(1);
      const float* const gradient = w.narrow2.get() + PairRow(t);
      ForVectors(PairRow(1), [&](int64_t at, __mmask16 mask) {
        Accumulate(to + at, mask, Load(gradient + at, mask));
      });
    }
  }

  // Y's, from its summary's.
  void SummaryGradient(const PairSummaries<const float>& given, int64_t row, int t,
                       WorkspaceImpl& w) const {
    const float* const y = w.output.get() + PairRow(t);
    float* const to = w.flow[0][0].get() + PairRow(t);
    const __m512 per_position = _mm512_set1_ps(1.0f / static_cast<float>(M_));
    ForVectors(E_, [&](int64_t e, __mmask16 mask) {
      const auto [mean, most, least] = PoolChannels(y, e, mask);
      const int64_t at_summary = row * E_ + e;
      const __m512 for_mean = _mm512_mul_ps(per_position, Load(given.mean + at_summary, mask));
      const __m512 for_most = Load(given.maximum + at_summary, mask);
      const __m512 for_least = Load(given.minimum + at_summary, mask);
      const __m512 for_spread = _mm512_mul_ps(_mm512_add_ps(per_position, per_position),
                                              Load(given.spread + at_summary, mask));
      __mmask16 most_left = 0xffff,
                least_left = 0xffff;  // channels whose position is still to come
      for (int64_t at = e; at < PairRow(1); at += E_) {
        const __m512 x = Load(y + at, mask);
        __m512 gradient = _mm512_fmadd_ps(for_spread, _mm512_sub_ps(x, mean), for_mean);
        const __mmask16 is_most = _mm512_mask_cmp_ps_mask(most_left, x, most, _CMP_EQ_OQ);
        const __mmask16 is_least = _mm512_mask_cmp_ps_mask(least_left, x, least, _CMP_EQ_OQ);
        most_left = static_cast<__mmask16>(most_left & ~is_most);
        least_left = static_cast<__mmask16>(least_left & ~is_least);
        gradient = _mm512_mask_add_ps(gradient, is_most, gradient, for_most);
        gradient = _mm512_mask_add_ps(gradient, is_least, gradient, for_least);
        Store(to + at, mask, gradient);
      }
    });
  }

  // From the gradients of what flows along a layer's paths, `from` and `from_extra`, those of its
  // cells' outputs, but of RIC and GLGC that of their inputs (GLGC's without what goes through its
  // unit vectors, whose gradient is left in w.cell[kGuidance], before fc_1), and of its gates.
  template <int kPaths>
  void MixGradient(int n, int t, const float* sign, const float* path_gradients,
                   const Array<float>* from, const Array<float>* from_extra, Array<float>* to,
                   WorkspaceImpl& w) const {
    LayerState& s = w.layers[n];
    const Routing& routing = s.routing[t];
    const Sequences cells = SequencesOf(s, t);
    const float* const scales = s.unit_scale.get() + int64_t{t} * E_;
    float* const to_rectified = to[0].get() + PairRow(t);
    float* const to_guided = to[kGuidance].get() + PairRow(t);
    float* const unit_gradient = w.cell[kGuidance].get() + PairRow(t);
    float* const to_reasoned = w.cell[kReasoning].get() + PairRow(t);
    float* const to_refined = w.cell[kRefinement].get() + PairRow(t);
    const float* flows[kPaths];
    for (int i = 0; i < kPaths; ++i) flows[i] = from[i].get() + PairRow(t);
    __m512 dots[kPaths][kCells];
    for (int i = 0; i < kPaths; ++i) {
      for (int j = 0; j < kCells; ++j) dots[i][j] = _mm512_setzero_ps();
    }
    ForVectors(E_, [&](int64_t e, __mmask16 mask) {
      const __m512 turn = Load(sign + e, mask);
      __m512 extra[kPaths];
      for (int i = 0; i < kPaths; ++i) {
        extra[i] = Load(from_extra[i].get() + int64_t{t} * E_ + e, mask);
      }
      __m512 along = _mm512_setzero_ps();
      for (int64_t at = e; at < PairRow(1); at += E_) {
        const Outputs outputs = cells.At(at, mask, turn);
        __m512 gradient[kCells];
        for (int i = 0; i < kPaths; ++i) {
          const __m512 flow = _mm512_add_ps(Load(flows[i] + at, mask), extra[i]);
          for (int j = 0; j < kCells; ++j) {
            const __m512 weight = _mm512_set1_ps(routing.weight[i][j]);
            gradient[j] =
                i == 0 ? _mm512_mul_ps(weight, flow) : _mm512_fmadd_ps(weight, flow, gradient[j]);
            dots[i][j] = _mm512_fmadd_ps(flow, outputs.of[j], dots[i][j]);
          }
        }
        const __m512 unit = Load(cells.unit + at, mask);
        const __m512 guided = _mm512_mul_ps(gradient[kGuidance], turn);
        const __m512 for_unit = _mm512_mul_ps(guided, Load(cells.input[1] + at, mask));
        along = _mm512_fmadd_ps(for_unit, unit, along);
        Store(unit_gradient + at, mask, for_unit);
        Store(to_guided + at, mask, _mm512_fmadd_ps(guided, unit, gradient[kGuidance]));
        // The rectified identity is positive where its input is.
        Store(to_rectified + at, mask, _mm512_maskz_mov_ps(IsPositive(outputs.of[0]), gradient[0]));
        Store(to_reasoned + at, mask, gradient[kReasoning]);
        Store(to_refined + at, mask, gradient[kRefinement]);
      }
      if (!routing.open[kGuidance]) return;
      const __m512 scale = Load(scales + e, mask);
      along = _mm512_mul_ps(along, IsUnclamped(scale));
      for (int64_t at = e; at < PairRow(1); at += E_) {
        const __m512 rest =
            _mm512_fnmadd_ps(along, Load(cells.unit + at, mask), Load(unit_gradient + at, mask));
        Store(unit_gradient + at, mask, _mm512_mul_ps(scale, rest));
      }
    });
    float dot[kPaths][kCells];
    for (int i = 0; i < kPaths; ++i) {
      for (int j = 0; j < kCells; ++j) dot[i][j] = _mm512_reduce_add_ps(dots[i][j]);
    }
    GateGradient<kPaths>(n, t, dot, path_gradients, from, w);
  }

  // Of p[j][i] = g[j][i] / total[i], or in the last layer of Y's weights, and of g = relu(tanh(.)).
  template <int kPaths>
  void GateGradient(int n, int t, const float dot[kPaths][kCells], const float* path_gradients,
                    const Array<float>* from, WorkspaceImpl& w) const {
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
          __m512 sum = _mm512_setzero_ps();
          ForVectors(PairRow(1), [&](int64_t at, __mmask16 mask) {
            sum = _mm512_fmadd_ps(Load(flow + at, mask), Load(input + at, mask), sum);
          });
          common += routing.bypass[j] * _mm512_reduce_add_ps(sum);
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

  void BypassGradient(int t, const float* from, Array<float>* to, WorkspaceImpl& w) const {
    for (int j = 0; j < kCells; ++j) {
      const float bypass = w.layers[kLayers - 1].routing[t].bypass[j];
      if (bypass == 0) continue;
      const __m512 weight = _mm512_set1_ps(bypass);
      float* const at_input = to[j].get() + PairRow(t);
      const float* const flow = from + PairRow(t);
      ForVectors(PairRow(1), [&](int64_t at, __mmask16 mask) {
        Accumulate(at_input + at, mask, _mm512_mul_ps(weight, Load(flow + at, mask)));
      });
    }
  }

  // weight += gradient^T input, bias += gradient's sums.
  void AddLinearGradient(const TrainingSlot& slot, const float* gradient, int64_t gradient_stride,
                         const float* input, int64_t input_stride, int rows, float* weights) const {
    FloatProduct(Columns(gradient, gradient_stride), input, input_stride, slot.out, slot.in, rows,
                 AddTo{weights + slot.weight, slot.in});
    AddColumnSums(gradient, gradient_stride, rows, slot.out, weights + slot.bias);
  }

  // Of TwoLayers(), from `gradient` of what it adds to the residual: finish() gets that of x.
  // Leaves that of in(x) in `before`.
  template <class Finish>
  void TwoLayersGradient(const StepImpl& step, const TrainingSlot& in, const TrainingSlot& out,
                         int rows, const float* gradient, const float* x, const float* hidden,
                         float* before, const TrainingArrays<float>& gradients,
                         const Finish& finish) const {
    AddLinearGradient(out, gradient, out.out, hidden, out.in, rows, gradients.weights);
    FloatProduct(Rows(gradient, out.out), step.inputs.weights + out.weight, out.in, rows, out.in,
                 out.out, WhereRectifierOpen{before, out.in, hidden});
    AddLinearGradient(in, before, in.out, x, in.in, rows, gradients.weights);
    FloatProduct(Rows(before, in.out), step.inputs.weights + in.weight, in.in, rows, in.in, in.out,
                 finish);
  }

  void GuidanceGradient(const StepImpl& step, int count, int n, float* to,
                        const TrainingArrays<float>& gradients, WorkspaceImpl& w) const {
    const LayerState& s = w.layers[n];
    const TrainingSlot& slot = layout_.layers[n].guidance;
    ForOpen(s, kGuidance, count, [&](int first, int pairs) {
      const float* const gradient = w.cell[kGuidance].get() + PairRow(first);
      AddLinearGradient(slot, gradient, E_, s.input[kGuidance].get() + PairRow(first), E_,
                        pairs * M_, gradients.weights);
      FloatProduct(Rows(gradient, E_), step.inputs.weights + slot.weight, E_, pairs * M_, E_, E_,
                   AddTo{to + PairRow(first), E_});
    });
  }

  void ReasoningGradient(const StepImpl& step, int count, int n, float* to,
                         const TrainingArrays<float>& gradients, WorkspaceImpl& w) const {
    const LayerState& s = w.layers[n];
    const TrainingLayout::Layer& slots = layout_.layers[n];
    const float* const weights = step.inputs.weights;
    const float factor = SelfFactor();
    ClearShut(s, kReasoning, count, to);
    ForOpen(s, kReasoning, count, [&](int first, int pairs) {
      const int rows = pairs * M_;
      const float* const gradient = w.cell[kReasoning].get() + PairRow(first);
      const float* const feed = s.feed.get() + int64_t{first} * M_ * F_;
      const float* const attended = s.attended.get() + PairRow(first);
      float* const middle = w.narrow.get() + PairRow(first);  // of `attended`
      TwoLayersGradient(step, slots.feed_in, slots.feed_out, rows, gradient, attended, feed,
                        w.wide.get(), gradients, AddResidual{middle, E_, gradient, nullptr});
      // Of query, key and value, side by side as they are.
      const int64_t stride = 3 * int64_t{E_};
      for (int t = first; t < first + pairs; ++t) {
        const float* const attention = s.attention.get() + 3 * PairRow(t);
        const float* const heads = w.narrow.get() + PairRow(t);
        float* const out = w.wide.get() + 3 * (PairRow(t) - PairRow(first));
        TransposeTo(attention + 2 * E_, stride, M_, E_, w.transposed.get(), M16_);  // values
        for (int h = 0; h < heads_; ++h) {
          const int at = h * head_;
          const float* const shares = SelfShares(s, t, h);
          float* const scores = w.square.get();
          FloatProduct(Rows(heads + at, E_), w.transposed.get() + at * M16_, M16_, M_, M_, head_,
                       StoreTo{scores, M16_});
          SoftmaxGradient(shares, scores, M_, M_, M16_, factor);
          FloatProduct(Rows(scores, M16_), attention + E_ + at, stride, M_, head_, M_,
                       StoreTo{out + at, stride});
          FloatProduct(Columns(scores, M16_), attention + at, stride, M_, head_, M_,
                       StoreTo{out + E_ + at, stride});
          FloatProduct(Columns(shares, M16_), heads + at, E_, M_, head_, M_,
                       StoreTo{out + 2 * E_ + at, stride});
        }
      }
      AddLinearGradient(slots.attention, w.wide.get(), stride,
                        s.input[kReasoning].get() + PairRow(first), E_, rows, gradients.weights);
      FloatProduct(Rows(w.wide.get(), stride), weights + slots.attention.weight, E_, rows, E_,
                   3 * E_, AddResidual{to + PairRow(first), E_, middle, nullptr});
    });
  }

  // From w.cell[kRefinement]; uses w.narrow and w.wide.
  void RefinementGradient(const StepImpl& step, const TrainingPair* pairs, int count, int n,
                          float* to, const TrainingArrays<float>& gradients,
                          WorkspaceImpl& w) const {
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
      TwoLayersGradient(step, slots.refine_in, slots.refine_out, rows, gradient, modulated, hidden,
                        before, gradients, StoreTo{modulation, E_});
      for (int t = first; t < first + open; ++t) {
        RefineAttentionGradient(step, pairs[t], n, t, to, gradients, w);
      }
    });
  }

  // One pair's, from the gradient of z, in w.wide; the residual's with it.
  void RefineAttentionGradient(const StepImpl& step, const TrainingPair& pair, int n, int t,
                               float* to, const TrainingArrays<float>& gradients,
                               WorkspaceImpl& w) const {
    const LayerState& s = w.layers[n];
    const Context context = ContextOf(step, pair);
    const float* const input = s.input[kRefinement].get() + PairRow(t);
    const float* const turned = s.scale.get() + PairRow(t);
    const float* const residual = w.cell[kRefinement].get() + PairRow(t);
    const float* const shift = w.wide.get() + PairRow(t);  // dz, the shift's
    float* const scale = w.narrow.get() + PairRow(t);      // the scale's
    float* const at_input = to + PairRow(t);
    ForVectors(PairRow(1), [&](int64_t at, __mmask16 mask) {
      const __m512 of_z = Load(shift + at, mask), tanh = Load(turned + at, mask);
      const __m512 slope = _mm512_fnmadd_ps(tanh, tanh, _mm512_set1_ps(1));
      Store(at_input + at, mask, _mm512_fmadd_ps(of_z, tanh, Load(residual + at, mask)));
      Store(scale + at, mask, _mm512_mul_ps(_mm512_mul_ps(of_z, Load(input + at, mask)), slope));
    });
    const float* const shares = s.cross_shares.get() + int64_t{t} * M_ * C16_;
    const float* const normed = s.normed.get() + int64_t{t} * M_ * C16_;
    float* const scores = w.square.get();
    FloatProduct(Rows(scale, E_), ProjectedTransposed(context, n, 0), C16_, M_, context.rows, E_,
                 StoreTo{scores, C16_});
    FloatProduct(Rows(shift, E_), ProjectedTransposed(context, n, 1), C16_, M_, context.rows, E_,
                 AddTo{scores, C16_});
    const int64_t stride = int64_t{kProjections} * E_;
    float* const projected =
        gradients.projected + (int64_t{pair.context} * C_ * kProjections + 2 * n) * E_;
    FloatProduct(Columns(shares, C16_), scale, E_, context.rows, E_, M_, AddTo{projected, stride});
    FloatProduct(Columns(shares, C16_), shift, E_, context.rows, E_, M_,
                 AddTo{projected + E_, stride});
    SoftmaxGradient(shares, scores, M_, context.rows, C16_, shape_.lambda);
    ScoresGradient(shape_.norm, normed, M_, context.rows, C16_,
                   s.norm_scale.get() + int64_t{t} * C16_, s.norm_factor.get() + int64_t{t} * C16_,
                   scores);
    FloatProduct(Rows(scores, C16_), context.values, E_, M_, E_, context.rows, AddTo{at_input, E_});
    FloatProduct(Columns(scores, C16_), input, E_, context.rows, E_, M_,
                 AddTo{gradients.context + int64_t{pair.context} * C_ * E_, E_});
  }

  // From w.gate_gradient to the routers' weights and, by way of the means, to every position of the
  // cells' inputs: `extra`.
  void RouterGradient(const StepImpl& step, int count, int n, Array<float>* extra,
                      const TrainingArrays<float>& gradients, WorkspaceImpl& w) const {
    const LayerState& s = w.layers[n];
    const int paths = n == 1 ? kCells : 1;
    const __m512 per_position = _mm512_set1_ps(1.0f / static_cast<float>(M_));
    for (int j = 0; j < kCells; ++j) {
      const TrainingSlot& hidden = layout_.layers[n].router_hidden[j];
      const TrainingSlot& output = layout_.layers[n].router_output[j];
      for (int t = 0; t < count; ++t) {
        for (int i = 0; i < paths; ++i) w.gates.get()[t * paths + i] = w.gate_gradient[t][j][i];
      }
      AddLinearGradient(output, w.gates.get(), paths, s.hidden[j].get(), H_, count,
                        gradients.weights);
      FloatProduct(Rows(w.gates.get(), paths), step.inputs.weights + output.weight, H_, count, H_,
                   paths, WhereRectifierOpen{w.router_hidden.get(), H_, s.hidden[j].get()});
      AddLinearGradient(hidden, w.router_hidden.get(), H_, s.means[j].get(), E_, count,
                        gradients.weights);
      FloatProduct(Rows(w.router_hidden.get(), H_), step.inputs.weights + hidden.weight, E_, count,
                   E_, H_, StoreTo{extra[j].get(), E_});
      ForVectors(int64_t{count} * E_, [&](int64_t at, __mmask16 mask) {
        Store(extra[j].get() + at, mask,
              _mm512_mul_ps(per_position, Load(extra[j].get() + at, mask)));
      });
    }
  }

  // Of layer 0's mixing, from those of layer 1's inputs (w.flow[0], w.extra[0]); the refinement
  // cell's output's is left in w.cell[kRefinement].
  void MixFirstGradient(const StepImpl& step, const TrainingPair& pair, int t,
                        const TrainingArrays<float>& gradients, WorkspaceImpl& w) const {
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
    __m512 guided_dots[kCells], refined_dots[kCells];
    for (int i = 0; i < kCells; ++i) {
      guided_dots[i] = refined_dots[i] = _mm512_setzero_ps();
    }
    ForVectors(E_, [&](int64_t e, __mmask16 mask) {
      const __m512 turn = Load(sign + e, mask);
      __m512 extra[kCells];
      for (int i = 0; i < kCells; ++i) {
        extra[i] = Load(w.extra[0][i].get() + int64_t{t} * E_ + e, mask);
      }
      for (int64_t at = e; at < sequence; at += E_) {
        const __m512 turned = _mm512_mul_ps(turn, Load(guided + at, mask));
        const __m512 output = Load(refined + at, mask);
        __m512 for_guided = _mm512_setzero_ps(), for_refined = _mm512_setzero_ps();
        for (int i = 0; i < kCells; ++i) {
          const __m512 flow = _mm512_add_ps(Load(flows[i] + at, mask), extra[i]);
          Accumulate(base_gradient + i * sequence + at, mask, flow);
          for_guided = _mm512_fmadd_ps(_mm512_set1_ps(guided_share[i]), flow, for_guided);
          for_refined = _mm512_fmadd_ps(_mm512_set1_ps(refined_share[i]), flow, for_refined);
          guided_dots[i] = _mm512_fmadd_ps(turned, flow, guided_dots[i]);
          refined_dots[i] = _mm512_fmadd_ps(output, flow, refined_dots[i]);
        }
        Accumulate(guided_gradient + at, mask, _mm512_mul_ps(turn, for_guided));
        Store(refined_gradient + at, mask, for_refined);
      }
    });
    for (int i = 0; i < kCells; ++i) {
      gradients.guided_share[item * kCells + i] += _mm512_reduce_add_ps(guided_dots[i]);
      gradients.refined_share[item * kCells + i] += _mm512_reduce_add_ps(refined_dots[i]);
    }
  }

  const InteractionShape shape_;
  const TrainingLayout layout_;
  const int M_, C_, E_, F_, H_;
  const int heads_, head_;
  const int M16_, C16_;
  int pairs_;  // that go through the layers together
};

}  // namespace

std::unique_ptr<TrainingKernel> CreateAvx512TrainingKernel(const InteractionShape& shape) {
  return std::unique_ptr<TrainingKernel>(new KernelImpl(shape));
}

}  // namespace dime::kernels
