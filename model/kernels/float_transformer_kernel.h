#ifndef DIME_MODEL_KERNELS_FLOAT_TRANSFORMER_KERNEL_H_
#define DIME_MODEL_KERNELS_FLOAT_TRANSFORMER_KERNEL_H_

#include <cstdint>
#include <cstring>
#include <memory>

#include "model/kernels/array.h"
#include "model/kernels/float_product.h"
#include "model/kernels/float_rows.h"
#include "model/kernels/float_vector.h"
#include "model/kernels/transformer_kernel.h"

// TransformerKernel in float32 but for linear layers, which are Linear's, packed finely, on vectors
// as wide as the unit's that includes it. For the units that
// float_vector.h is for; in an unnamed namespace for the same reason.
namespace dime::kernels {
namespace {

// GELU in place: x (1 + erf(x / sqrt 2)) / 2, to an absolute error of 2e-6; erf by formula 7.1.26
// of Abramowitz and Stegun, which is within 1.5e-7.
inline void Gelu(float* values, int64_t count) {
  ForVectors(count, [&](int64_t e, auto lanes) {
    const Vec x = Load(values + e, lanes), magnitude = Absolute(x);
    // Beyond 10 erf is 1; NaN stays, as the minimum's second operand.
    const Vec z = Minimum(Set(10), magnitude * Set(0.707106781f));
    const Vec t = Set(1) / MulAdd(Set(0.3275911f), z, Set(1));
    Vec p = Set(1.061405429f);
    p = MulAdd(p, t, Set(-1.453152027f));
    p = MulAdd(p, t, Set(1.421413741f));
    p = MulAdd(p, t, Set(-0.284496736f));
    p = MulAdd(p, t, Set(0.254829592f));
    const Vec erf = NegMulAdd(p * t, Exp(Zero() - z * z), Set(1));
    Store(values + e, lanes, Set(0.5f) * MulAdd(magnitude, erf, x));
  });
}

template <class Linear>
class FloatTransformerKernel : public TransformerKernel {
 public:
  FloatTransformerKernel(const TransformerShape& shape, const TransformerLayerWeights* layers)
      : shape_(shape),
        H_(shape.hidden_size),
        I_(shape.intermediate_size),
        head_(shape.hidden_size / shape.num_heads),
        layers_(new Layer[shape.num_layers]) {
    for (int n = 0; n < shape.num_layers; ++n) {
      const TransformerLayerWeights& from = layers[n];
      Layer& to = layers_[n];
      to.attention.PackFinely(from.attention);
      to.attention_output.PackFinely(from.attention_output);
      to.intermediate.PackFinely(from.intermediate);
      to.output.PackFinely(from.output);
      to.attention_norm.Pack(from.attention_norm, H_);
      to.output_norm.Pack(from.output_norm, H_);
    }
  }
  ~FloatTransformerKernel() override { delete[] layers_; }

  std::unique_ptr<Workspace> MakeWorkspace() const override {
    return std::unique_ptr<Workspace>(new OwnWorkspace);
  }

  void Project(int layer, const Batch& batch, int64_t first, int count, float* projected,
               Workspace& workspace) const override {
    auto& w = static_cast<OwnWorkspace&>(workspace);
    w.Grow(count, batch.length, H_, I_);
    const Linear& attention = layers_[layer].attention;
    Multiply(attention, batch.states + first * H_, count, w,
             AddBias{projected + first * 3 * H_, 3 * H_, attention.bias.get()});
  }

  void Finish(int layer, const Batch& batch, int64_t first, int count, const float* projected,
              Workspace& workspace) const override {
    auto& w = static_cast<OwnWorkspace&>(workspace);
    w.Grow(count, batch.length, H_, I_);
    const Layer& l = layers_[layer];
    float* const states = batch.states + first * H_;
    for (int64_t row = first; row < first + count;) {
      const int64_t sequence = row / batch.length, begin = sequence * batch.length;
      const int64_t left = begin + batch.length - row, wanted = first + count - row;
      const int rows = static_cast<int>(left < wanted ? left : wanted);
      Attend(projected + begin * 3 * H_, static_cast<int>(row - begin), rows,
             static_cast<int>(batch.lengths[sequence]), w.attended.get() + (row - first) * H_, w);
      row += rows;
    }
    Multiply(l.attention_output, w.attended.get(), count, w,
             AddResidual{states, H_, states, l.attention_output.bias.get()});
    Normalize(l.attention_norm, states, count);
    Multiply(l.intermediate, states, count, w,
             AddBias{w.hidden.get(), I_, l.intermediate.bias.get()});
    Gelu(w.hidden.get(), int64_t{count} * I_);
    Multiply(l.output, w.hidden.get(), count, w,
             AddResidual{states, H_, states, l.output.bias.get()});
    Normalize(l.output_norm, states, count);
  }

 private:
  struct Norm {
    Array<float> scale, shift;
    void Pack(const LayerNormWeights& from, int size) {
      scale.Resize(size);
      shift.Resize(size);
      std::memcpy(scale.get(), from.scale, size * sizeof(float));
      std::memcpy(shift.get(), from.shift, size * sizeof(float));
    }
  };
  struct Layer {
    Linear attention, attention_output, intermediate, output;
    Norm attention_norm, output_norm;
  };
  struct OwnWorkspace : Workspace {
    Array<float> attended;  // (rows, H)
    Array<float> hidden;    // (rows, I)
    Array<float> keys;      // (H, LW) of a sequence
    Array<float> shares;    // (L, LW) of a head; LW: L rounded up to whole vectors
    typename Linear::Scratch linear;
    int64_t rows = 0;
    int length = 0;
    void Grow(int64_t most_rows, int most_length, int hidden_size, int intermediate_size) {
      if (most_rows > rows) {
        rows = most_rows;
        attended.Resize(rows * hidden_size);
        hidden.Resize(rows * intermediate_size);
        linear.Allocate(rows, Greater(hidden_size, intermediate_size));
      }
      if (most_length > length) {
        length = most_length;
        keys.Resize(hidden_size * RoundUp(length, kWidth));
        shares.Resize(length * RoundUp(length, kWidth));
      }
    }
  };

  // finish(x W^T) of `count` rows side by side.
  template <class Finish>
  static void Multiply(const Linear& linear, const float* x, int count, OwnWorkspace& w,
                       const Finish& finish) {
    const RowRun all = {0, count};
    linear.Multiply(x, linear.in, &all, 1, w.linear, finish);
  }
  // What `rows` rows from `first` on of a sequence attend to, among its first `valid`; `projected`
  // is the sequence's.
  void Attend(const float* projected, int first, int rows, int valid, float* attended,
              OwnWorkspace& w) const {
    const int wide = static_cast<int>(RoundUp(valid, kWidth));
    const float factor = 1 / __builtin_sqrtf(static_cast<float>(head_));
    float* const keys = w.keys.get();
    float* const shares = w.shares.get();
    TransposeTo(projected + H_, 3 * H_, valid, H_, keys, wide);
    for (int at = 0; at < H_; at += head_) {
      FloatProduct(Rows(projected + int64_t{first} * 3 * H_ + at, 3 * H_),
                   RowMajor(keys + int64_t{at} * wide, wide), rows, valid, head_,
                   StoreTo{shares, wide});
      Softmax(shares, rows, valid, wide, factor);
      FloatProduct(Rows(shares, wide), RowMajor(projected + 2 * H_ + at, 3 * H_), rows, head_,
                   valid, StoreTo{attended + at, H_});
    }
  }

  void Normalize(const Norm& norm, float* states, int rows) const {
    const float each = 1 / static_cast<float>(H_);
    for (int r = 0; r < rows; ++r) {
      float* const row = states + int64_t{r} * H_;
      Vec sums = Zero();
      ForVectors(H_, [&](int64_t e, auto lanes) { sums = sums + Load(row + e, lanes); });
      const Vec mean = Set(Sum(sums) * each);
      Vec squares = Zero();
      ForVectors(H_, [&](int64_t e, auto lanes) {
        const Vec apart = Keep(lanes, Load(row + e, lanes) - mean);
        squares = MulAdd(apart, apart, squares);
      });
      const Vec inverse = Set(1 / __builtin_sqrtf(Sum(squares) * each + shape_.layer_norm_eps));
      ForVectors(H_, [&](int64_t e, auto lanes) {
        const Vec scaled = (Load(row + e, lanes) - mean) * inverse;
        Store(row + e, lanes,
              MulAdd(scaled, Load(norm.scale.get() + e, lanes), Load(norm.shift.get() + e, lanes)));
      });
    }
  }

  const TransformerShape shape_;
  const int H_, I_, head_;
  Layer* const layers_;
};

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_FLOAT_TRANSFORMER_KERNEL_H_
