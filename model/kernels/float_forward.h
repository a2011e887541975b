#ifndef DIME_MODEL_KERNELS_FLOAT_FORWARD_H_
#define DIME_MODEL_KERNELS_FLOAT_FORWARD_H_

#include <cstdint>
#include <cstring>
#include <initializer_list>

#include "model/kernels/array.h"
#include "model/kernels/float_linear.h"
#include "model/kernels/float_product.h"
#include "model/kernels/float_rows.h"
#include "model/kernels/float_vector.h"
#include "model/kernels/interaction_weights.h"
#include "model/kernels/routing.h"
#include "model/kernels/score_norms.h"

// The forward pass of DIME's routers and cells (dime-model.md, 3 and 4) in float32 on a few pairs
// at a time: what scoring and training share. For the units that float_vector.h is for; in an
// unnamed namespace for the same reason.
namespace dime::kernels {
namespace {

// Pairs that may go through the cells together, and through the routers.
constexpr int kMostPairs = 8;
constexpr int kMostRouted = 16;

// What one layer's cells and routers multiply by. Where nothing is kept, Linear::kPairsAtATime
// pairs go through a cell together: their rows stay in the second-level cache while its weights
// stream past them. Through the routers go all at once: a pair has but one row there, for as many
// weights.
template <class Linear>
struct CellWeights {
  typename Linear::Router router_hidden[kCells];
  FloatLinear router_output[kCells];
  Linear guidance;
  Linear attention;  // query, key and value side by side
  Linear feed_in, feed_out;
  Linear refine_in, refine_out;
};

// One pair's other side as a layer's refinement cell takes it.
struct FloatContext {
  int rows;
  Right transposed;    // (E, rows)
  Right scale, shift;  // (rows, E): the layer's projections
};

// What one layer makes of some pairs. Sequences have a row for each pair and position. A pass that
// keeps nothing has one for all layers, and what is marked with a star for one pair or head alone.
struct LayerState {
  // Of the pairs that are routed together.
  Array<float> input[kCells];   // (routed rows, E)
  Array<float> means[kCells];   // (routed, E) over an input's positions
  Array<float> hidden[kCells];  // (routed, router size)
  Routing routing[kMostRouted];
  // Of those that go through the cells together: `first` of the above and the ones after it.
  int first = 0;
  // Guidance: Linear_fc_1(Z) normalised along the positions, and 1 / norm, (pairs, E).
  Array<float> unit, unit_scale;
  // Reasoning.
  Array<float> attention;    // (rows, 3 E): query, key, value
  Array<float> self_shares;  // (pairs*, heads*, M, MW)
  Array<float> attended;     // (rows, E): Z + MHA(Z)
  Array<float> feed;         // (rows, feed-forward size)
  Array<float> reasoned;     // (rows, E)
  // Refinement.
  Array<float> normed;                   // (pairs*, M, CW): N, raw scores normalised
  Array<float> norm_scale, norm_factor;  // (pairs*, CW), see NormalizeScores()
  Array<float> cross_shares;             // (pairs*, M, CW): P
  Array<float> scale;                    // (rows*, E): tanh(P scale)
  Array<float> modulated;                // (rows, E): z
  Array<float> refine_hidden;            // (rows, E)
  Array<float> refined;                  // (rows, E)
};

// Memory that a pass needs besides.
template <class Linear>
struct ForwardScratch {
  Array<float> transposed;  // (E, MW): keys
  Array<float> gates;       // (routed, 4)
  typename Linear::Scratch linear;
  typename Linear::Router::Scratch router;
};

// What Pass() needs where nothing is kept: one state for all layers.
template <class Linear>
struct PassMemory {
  LayerState state;
  ForwardScratch<Linear> scratch;
  Array<float> output;  // (M, E): the last layer's, of one pair
};

// What a layer's cells give for a pair, kWidth channels of one position.
struct CellOutputs {
  Vec of[kCells];
};
// One pair's sequences, (M, E) each, that a layer's outputs are made of.
struct CellSequences {
  const float* input[2];  // RIC's and GLGC's
  const float* unit;
  const float* reasoned;
  const float* refined;
  // `sign`: of the guide, the same channels.
  template <class Lanes>
  CellOutputs At(int64_t at, Lanes lanes, Vec sign) const {
    const Vec second = Load(input[1] + at, lanes);
    return {{Maximum(Zero(), Load(input[0] + at, lanes)),
             MulAdd(second * sign, Load(unit + at, lanes), second), Load(reasoned + at, lanes),
             Load(refined + at, lanes)}};
  }
};

// The passes of one shape's layers. Immutable, hence thread-safe; a LayerState and a ForwardScratch
// are for one thread at a time.
template <class Linear>
class FloatForward {
 public:
  using Weights = CellWeights<Linear>;
  using Scratch = ForwardScratch<Linear>;

  // `pairs`: that go through the cells together, at most kMostPairs; `routed`: through the routers,
  // at most kMostRouted; `keeps`: whether a LayerState keeps what a backward pass needs.
  FloatForward(const InteractionShape& shape, int pairs, int routed, bool keeps)
      : shape_(shape),
        M_(shape.positions),
        E_(shape.embed_size),
        F_(shape.feed_forward_size),
        H_(shape.router_size),
        heads_(shape.num_heads),
        head_(shape.embed_size / shape.num_heads),
        MW_(static_cast<int>(RoundUp(M_, kWidth))),
        CW_(static_cast<int>(RoundUp(shape.max_context, kWidth))),
        pairs_(pairs),
        routed_(routed),
        keeps_(keeps) {}

  int context_stride() const { return CW_; }   // CW: the most rows of a context, rounded up
  int position_stride() const { return MW_; }  // MW: M, rounded up
  int64_t PairRow(int t) const { return int64_t{t} * M_ * E_; }  // floats before pair t's sequence
  // What a cell takes of those from `first` on, the t-th.
  float* Input(const LayerState& s, int cell, int t) const {
    return s.input[cell].get() + PairRow(s.first + t);
  }
  const Routing& RoutingOf(const LayerState& s, int t) const { return s.routing[s.first + t]; }
  float* SelfShares(const LayerState& s, int t, int head) const {
    return s.self_shares.get() + (keeps_ ? int64_t{t} * heads_ + head : 0) * M_ * MW_;
  }
  // Of what a pair has (M, CW) or (CW) of.
  int64_t CrossRow(int t) const { return keeps_ ? int64_t{t} * M_ * CW_ : 0; }
  int64_t ContextRow(int t) const { return keeps_ ? int64_t{t} * CW_ : 0; }
  float SelfFactor() const {  // 1 / sqrt(head size)
    return 1 / __builtin_sqrtf(static_cast<float>(head_));
  }

  // `refinement_alone`: for a layer whose other cells are not run.
  void Allocate(bool refinement_alone, LayerState& s) const {
    const int64_t rows = int64_t{pairs_} * M_, sequence = rows * E_;
    const int64_t cross = keeps_ ? rows * CW_ : int64_t{M_} * CW_;
    const int64_t context = int64_t{keeps_ ? pairs_ : 1} * CW_;
    s.input[kRefinement].Resize(PairRow(routed_));
    for (Array<float>* a : {&s.modulated, &s.refine_hidden, &s.refined}) a->Resize(sequence);
    s.scale.Resize(keeps_ ? sequence : PairRow(1));
    s.normed.Resize(cross);
    s.cross_shares.Resize(cross);
    s.norm_scale.Resize(context);
    s.norm_factor.Resize(context);
    if (refinement_alone) return;
    for (int j = 0; j < kCells; ++j) {
      if (j != kRefinement) s.input[j].Resize(PairRow(routed_));
      s.means[j].Resize(int64_t{routed_} * E_);
      s.hidden[j].Resize(int64_t{routed_} * H_);
    }
    for (Array<float>* a : {&s.unit, &s.attended, &s.reasoned}) a->Resize(sequence);
    s.unit_scale.Resize(int64_t{pairs_} * E_);
    s.attention.Resize(3 * sequence);
    s.self_shares.Resize(int64_t{M_} * MW_ * (keeps_ ? pairs_ * heads_ : 1));
    s.feed.Resize(rows * F_);
  }
  void Allocate(Scratch& scratch) const {
    scratch.transposed.Resize(int64_t{E_} * MW_);
    scratch.gates.Resize(int64_t{routed_} * kCells);
    scratch.linear.Allocate(int64_t{pairs_} * M_, Greater(3 * E_, F_));
    scratch.router.Allocate(routed_, Greater(E_, H_));
  }

  void Allocate(PassMemory<Linear>& memory) const {
    Allocate(/*refinement_alone=*/false, memory.state);
    Allocate(memory.scratch);
    memory.output.Resize(PairRow(1));
  }

  // `count` pairs through the three layers, at most `routed` of them, with routers of all of them
  // at once and cells of a few; with `keeps` at most `pairs`, cells of all. `states`: of each
  // layer; without `keeps` the same one thrice. Of layer 0 the refinement cell alone is run: what
  // it takes must be in its state, and whether it is open. What is the pairs' own, `owner` knows; p
  // is a pair's place among them:
  //   FloatContext Context(int p, int layer)
  //   const float* GuideSign(int p)
  //   void MixFirst(int p, const float* refined, float* const* to, float* const* means)
  //                           mixes layer 0's cells as Mix() does
  //   void Routed(int layer)  gates of layer 1 or 2 are there
  //   float* Output(int p)    where the last layer's output (M, E) goes
  //   void Done(int p)        it is there
  template <class Owner>
  void Pass(const Weights* layers, int count, LayerState* const* states, Scratch& scratch,
            Owner&& owner) const {
    const auto for_few = [&](LayerState& s, auto&& body) {
      for (s.first = 0; s.first < count; s.first += pairs_) body(Lesser(pairs_, count - s.first));
      s.first = 0;
    };
    const auto refine = [&](int n, int size) {
      LayerState& s = *states[n];
      const auto context_of = [&](int t) { return owner.Context(s.first + t, n); };
      Refine(layers[n], size, context_of, s, scratch);
    };
    // What the next layer takes of a pair.
    struct Next {
      float* inputs[kCells];
      float* means[kCells];
    };
    const auto next_of = [&](int n, int p) {
      const LayerState& s = *states[n + 1];
      Next next;
      for (int i = 0; i < kCells; ++i) {
        next.inputs[i] = s.input[i].get() + PairRow(p);
        next.means[i] = s.means[i].get() + int64_t{p} * E_;
      }
      return next;
    };

    LayerState& first = *states[0];
    for_few(first, [&](int size) {
      refine(0, size);
      for (int t = 0; t < size; ++t) {
        const int p = first.first + t;
        const Next next = next_of(0, p);
        owner.MixFirst(p, first.refined.get() + PairRow(t), next.inputs, next.means);
      }
    });
    for (int n = 1; n < kLayers; ++n) {
      LayerState& s = *states[n];
      const bool last = n == kLayers - 1;
      Route(layers[n], count, PathsOf(n), s, scratch);
      owner.Routed(n);
      for_few(s, [&](int size) {
        Guide(layers[n], size, s, scratch);
        Reason(layers[n], size, s, scratch);
        refine(n, size);
        for (int t = 0; t < size; ++t) {
          const int p = s.first + t;
          const float* const sign = owner.GuideSign(p);
          if (last) {
            float* const output = owner.Output(p);
            Mix<1>(SequencesOf(s, t), s.routing[p], sign, &output, nullptr);
            Bypass(s, t, output);
            owner.Done(p);
          } else {
            const Next next = next_of(n, p);
            Mix<kCells>(SequencesOf(s, t), s.routing[p], sign, next.inputs, next.means);
          }
        }
      });
    }
  }

  // Gates of a layer's first `count` pairs, whatever s.first is, from the means of its inputs: to
  // `paths` paths, all four or, in the last layer, one.
  void Route(const Weights& layer, int count, int paths, LayerState& s, Scratch& scratch) const {
    float* const gates = scratch.gates.get();
    const RowRun all = {0, count};
    for (int j = 0; j < kCells; ++j) {
      const typename Linear::Router& hidden = layer.router_hidden[j];
      const FloatLinear& output = layer.router_output[j];
      hidden.Multiply(s.means[j].get(), E_, &all, 1, scratch.router,
                      AddBiasAndRectify{s.hidden[j].get(), H_, hidden.bias.get()});
      FloatProduct(Rows(s.hidden[j].get(), H_), output.weight(), count, paths, H_,
                   AddBias{gates, paths, output.bias.get()});
      ForVectors(int64_t{count} * paths, [&](int64_t at, auto lanes) {
        Store(gates + at, lanes, Maximum(Zero(), Tanh(Load(gates + at, lanes))));
      });
      for (int t = 0; t < count; ++t) {
        for (int i = 0; i < paths; ++i) s.routing[t].gate[j][i] = gates[t * paths + i];
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

  // The rows of those pairs whose cell is open. A shut cell's sequence is mixed with a weight of
  // zero; it is cleared in `output`, so that it is finite.
  struct OpenRows {
    RowRun runs[kMostPairs];
    int num_runs = 0;
  };
  OpenRows Open(const LayerState& s, int cell, int count, const Array<float>& output) const {
    OpenRows open;
    for (int t = 0; t < count; ++t) {
      if (!RoutingOf(s, t).open[cell]) {
        std::memset(output.get() + PairRow(t), 0, PairRow(1) * sizeof(float));
      } else if (t > 0 && RoutingOf(s, t - 1).open[cell]) {
        open.runs[open.num_runs - 1].count += M_;
      } else {
        open.runs[open.num_runs++] = {t * M_, M_};
      }
    }
    return open;
  }
  // Calls body(t) for each of the pairs.
  template <class Body>
  void ForPairs(const OpenRows& open, Body&& body) const {
    for (int r = 0; r < open.num_runs; ++r) {
      const int first = open.runs[r].first / M_;
      for (int t = first; t < first + open.runs[r].count / M_; ++t) body(t);
    }
  }

  // Guidance: F = Linear_fc_1(Z), normalised for each channel along the positions. The guide acts
  // by its sign alone (dime-model.md, 9), where the cell's output is taken.
  void Guide(const Weights& layer, int count, LayerState& s, Scratch& scratch) const {
    const OpenRows open = Open(s, kGuidance, count, s.unit);
    layer.guidance.Multiply(Input(s, kGuidance, 0), E_, open.runs, open.num_runs, scratch.linear,
                            AddBias{s.unit.get(), E_, layer.guidance.bias.get()});
    ForPairs(open, [&](int t) {
      float* const unit = s.unit.get() + PairRow(t);
      float* const scales = s.unit_scale.get() + int64_t{t} * E_;
      ForVectors(E_, [&](int64_t e, auto lanes) {
        Vec squares = Zero();
        for (int64_t at = e; at < PairRow(1); at += E_) {
          const Vec x = Load(unit + at, lanes);
          squares = MulAdd(x, x, squares);
        }
        const Vec scale = InverseNorm(squares);
        for (int64_t at = e; at < PairRow(1); at += E_) {
          Store(unit + at, lanes, scale * Load(unit + at, lanes));
        }
        Store(scales + e, lanes, scale);
      });
    });
  }

  void Reason(const Weights& layer, int count, LayerState& s, Scratch& scratch) const {
    const OpenRows open = Open(s, kReasoning, count, s.reasoned);
    const float factor = SelfFactor();
    layer.attention.Multiply(Input(s, kReasoning, 0), E_, open.runs, open.num_runs, scratch.linear,
                             AddBias{s.attention.get(), 3 * E_, layer.attention.bias.get()});
    ForPairs(open, [&](int t) {
      const float* const attention = s.attention.get() + 3 * PairRow(t);
      float* const attended = s.attended.get() + PairRow(t);
      float* const keys = scratch.transposed.get();
      TransposeTo(attention + E_, 3 * E_, M_, E_, keys, MW_);
      for (int h = 0; h < heads_; ++h) {
        const int at = h * head_;
        float* const shares = SelfShares(s, t, h);
        FloatProduct(Rows(attention + at, 3 * E_), RowMajor(keys + at * MW_, MW_), M_, M_, head_,
                     StoreTo{shares, MW_});
        Softmax(shares, M_, M_, MW_, factor);
        FloatProduct(Rows(shares, MW_), RowMajor(attention + 2 * E_ + at, 3 * E_), M_, head_, M_,
                     AddResidual{attended + at, E_, Input(s, kReasoning, t) + at, nullptr});
      }
    });
    TwoLayers(layer.feed_in, layer.feed_out, open, s.attended.get(), s.feed.get(), s.attended.get(),
              s.reasoned.get(), scratch);
  }

  // `context_of(t)`: the FloatContext of pair t.
  template <class ContextOf>
  void Refine(const Weights& layer, int count, const ContextOf& context_of, LayerState& s,
              Scratch& scratch) const {
    const OpenRows open = Open(s, kRefinement, count, s.refined);
    ForPairs(open, [&](int t) {
      const FloatContext context = context_of(t);
      const float* const input = Input(s, kRefinement, t);
      float* const normed = s.normed.get() + CrossRow(t);
      float* const shares = s.cross_shares.get() + CrossRow(t);
      FloatProduct(Rows(input, E_), context.transposed, M_, context.rows, E_, StoreTo{normed, CW_});
      NormalizeScores(shape_.norm, normed, M_, context.rows, CW_,
                      s.norm_scale.get() + ContextRow(t), s.norm_factor.get() + ContextRow(t));
      std::memcpy(shares, normed, int64_t{M_} * CW_ * sizeof(float));
      Softmax(shares, M_, context.rows, CW_, shape_.lambda);
      float* const scale = s.scale.get() + (keeps_ ? PairRow(t) : 0);
      float* const modulated = s.modulated.get() + PairRow(t);
      FloatProduct(Rows(shares, CW_), context.scale, M_, E_, context.rows, StoreTo{scale, E_});
      FloatProduct(Rows(shares, CW_), context.shift, M_, E_, context.rows, StoreTo{modulated, E_});
      ForVectors(PairRow(1), [&](int64_t at, auto lanes) {
        const Vec turned = Tanh(Load(scale + at, lanes));
        Store(scale + at, lanes, turned);
        Store(modulated + at, lanes,
              MulAdd(turned, Load(input + at, lanes), Load(modulated + at, lanes)));
      });
    });
    TwoLayers(layer.refine_in, layer.refine_out, open, s.modulated.get(), s.refine_hidden.get(),
              Input(s, kRefinement, 0), s.refined.get(), scratch);
  }

  CellSequences SequencesOf(const LayerState& s, int t) const {
    return {{Input(s, 0, t), Input(s, kGuidance, t)},
            s.unit.get() + PairRow(t),
            s.reasoned.get() + PairRow(t),
            s.refined.get() + PairRow(t)};
  }

  // What flows along each path of a pair, (M, E) each, and, unless `means` is null, its means over
  // the positions. `sign`: of the guide, (E). `to` may be where the sequences are: what is written
  // was read before.
  template <int kPaths>
  void Mix(const CellSequences& cells, const Routing& routing, const float* sign, float* const* to,
           float* const* means) const {
    const Vec per_position = Set(1.0f / static_cast<float>(M_));
    ForVectors(E_, [&](int64_t e, auto lanes) {
      const Vec turn = Load(sign + e, lanes);
      Vec sums[kPaths];
      for (int i = 0; i < kPaths; ++i) sums[i] = Zero();
      for (int64_t at = e; at < PairRow(1); at += E_) {
        const CellOutputs outputs = cells.At(at, lanes, turn);
        for (int i = 0; i < kPaths; ++i) {
          Vec x = Set(routing.weight[i][0]) * outputs.of[0];
          for (int j = 1; j < kCells; ++j) {
            x = MulAdd(Set(routing.weight[i][j]), outputs.of[j], x);
          }
          Store(to[i] + at, lanes, x);
          sums[i] = sums[i] + x;
        }
      }
      if (means == nullptr) return;
      for (int i = 0; i < kPaths; ++i) Store(means[i] + e, lanes, sums[i] * per_position);
    });
  }

  // The last layer's cells that are shut hand their inputs on.
  void Bypass(const LayerState& s, int t, float* to) const {
    for (int j = 0; j < kCells; ++j) {
      if (RoutingOf(s, t).bypass[j] == 0) continue;
      const Vec weight = Set(RoutingOf(s, t).bypass[j]);
      const float* const input = Input(s, j, t);
      ForVectors(PairRow(1), [&](int64_t at, auto lanes) {
        Accumulate(to + at, lanes, weight * Load(input + at, lanes));
      });
    }
  }

 private:
  // hidden = relu(in(x)); to = residual + out(hidden).
  void TwoLayers(const Linear& in, const Linear& out, const OpenRows& open, const float* x,
                 float* hidden, const float* residual, float* to, Scratch& scratch) const {
    in.Multiply(x, in.in, open.runs, open.num_runs, scratch.linear,
                AddBiasAndRectify{hidden, in.out, in.bias.get()});
    out.Multiply(hidden, out.in, open.runs, open.num_runs, scratch.linear,
                 AddResidual{to, out.out, residual, out.bias.get()});
  }

  const InteractionShape shape_;
  const int M_, E_, F_, H_;
  const int heads_, head_;
  const int MW_, CW_;
  const int pairs_, routed_;
  const bool keeps_;
};

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_FLOAT_FORWARD_H_
