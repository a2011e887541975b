#ifndef DIME_MODEL_KERNELS_FLOAT_TRAINING_KERNEL_H_
#define DIME_MODEL_KERNELS_FLOAT_TRAINING_KERNEL_H_

#include <cstdint>
#include <cstring>
#include <memory>

#include "model/kernels/array.h"
#include "model/kernels/float_backward.h"
#include "model/kernels/float_forward.h"
#include "model/kernels/float_rows.h"
#include "model/kernels/float_training_step.h"
#include "model/kernels/float_vector.h"
#include "model/kernels/training_kernel.h"

// TrainingKernel, on vectors as wide as the unit's that includes it, with linear layers by
// FloatLinear or Bf16Linear: how pairs go through both passes, layer 0's mixing, and the summaries
// of what comes out. For the units that float_vector.h is for; in an unnamed namespace for the same
// reason.
namespace dime::kernels {
namespace {

// Pairs that go through the layers together in a backward pass: so many that their state, some 60
// sequences, takes so much, which is a second-level cache or two. Weights that do not fit one are
// read, and their gradients written, for at least as many pairs as below. Measured with AVX-512 and
// AVX512-BF16 on caches of 1 MB; half as many are slower.
constexpr int64_t kStateBytes = 2400000;
constexpr int64_t kCachedWeights = 1 << 18;  // floats
constexpr int kPairsBeyond = 8;

template <class Linear>
class TrainingWorkspace : public TrainingKernel::Workspace {
 public:
  // Each from its first use on.
  std::unique_ptr<PassMemory<Linear>> forward;
  std::unique_ptr<BackwardMemory<Linear>> backward;
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
        E_(shape.embed_size),
        pairs_(PairsTogether(shape, layout_)),
        forward_(shape, pairs_, pairs_, /*keeps=*/true),
        passing_(shape, Linear::kPairsAtATime, kMostRouted, /*keeps=*/false),
        backward_(shape, pairs_, forward_) {}

  std::unique_ptr<Workspace> MakeWorkspace() const override {
    return std::unique_ptr<Workspace>(new OwnWorkspace);
  }

  std::unique_ptr<Step> MakeStep(const TrainingInputs& inputs) const override {
    return std::unique_ptr<Step>(new OwnStep(shape_, layout_, inputs));
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
    if (memory == nullptr) memory = backward_.MakeMemory();
    Memory& w = *memory;
    const typename Linear::Session session;
    for (int first = 0; first < count; first += pairs_) {
      const int n = Lesser(pairs_, count - first);
      RunForward(inputs, pairs + first, n, w);
      RunBackward(inputs, pairs + first, n, first, given, gradients, w);
      w.router_rows += n;
      if (w.router_rows + pairs_ > kRouterRows) backward_.AddRouterGradients(gradients, w);
    }
    if (w.router_rows > 0) backward_.AddRouterGradients(gradients, w);
  }

 private:
  static int PairsTogether(const InteractionShape& shape, const TrainingLayout& layout) {
    const int64_t pair_bytes = int64_t{60} * shape.positions * shape.embed_size * sizeof(float);
    const int64_t least = layout.size > kCachedWeights ? kPairsBeyond : 1;
    return Lesser(kMostPairs, static_cast<int>(Greater(kStateBytes / pair_bytes, least)));
  }

  int64_t PairRow(int t) const { return forward_.PairRow(t); }

  // ---- Forward ----

  // Pairs of a pass, as FloatForward::Pass() asks for them.
  struct Group {
    const FloatTrainingKernel& kernel;
    const OwnStep& step;
    const TrainingPair* pairs;

    FloatContext Context(int p, int layer) const { return step.OfLayer(pairs[p], layer); }
    const float* GuideSign(int p) const { return step.ContextOf(pairs[p]).sign; }
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
      backward_.Layer(step, pairs, count, n, given.paths + first_row * kPathWeights, gradients, w);
    }
    for (int t = 0; t < count; ++t) MixFirstGradient(step, pairs[t], t, gradients, w);
    backward_.Refinement(step, pairs, count, 0, w.narrow2.get(), gradients, w);
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
  const int M_, E_;
  const int pairs_;                     // that go through the layers together
  const FloatForward<Linear> forward_;  // keeps what the backward pass needs
  const FloatForward<Linear> passing_;  // keeps nothing
  const FloatBackward<Linear> backward_;
};

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_FLOAT_TRAINING_KERNEL_H_
