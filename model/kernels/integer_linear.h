#ifndef DIME_MODEL_KERNELS_INTEGER_LINEAR_H_
#define DIME_MODEL_KERNELS_INTEGER_LINEAR_H_

#include <cstddef>
#include <cstdint>

#include "model/kernels/array.h"
#include "model/kernels/float_product.h"
#include "model/kernels/float_rows.h"
#include "model/kernels/float_vector.h"
#include "model/kernels/integer_vector.h"

// Products with weights, of integers. For the units that float_vector.h is for; in an unnamed
// namespace for the same reason.
namespace dime::kernels {
namespace {

// What IntegerLinear rounds to: inputs to kSteps + 1 whole numbers from kLeast on, evenly, weights
// to whole numbers whose distance WeightStep() gives.
struct Bytes {
  using Input = uint8_t;
  using Weight = int8_t;
  static constexpr int kLeast = 0, kSteps = 255;
  static constexpr int kGreatestWeight = kGreatestSigned;
  // Of weights of this greatest magnitude and sum of magnitudes. Products of bytes and their sums
  // stay within 32 bits up to 66,000 inputs.
  static float WeightStep(float greatest, double, int) { return greatest / kGreatestWeight; }
  static Integers AddProducts(Integers sums, Integers inputs, Integers weights) {
    return AddByteProducts(sums, inputs, weights);
  }
  static void StoreInputs(Input* to, Vec values) { StoreAsBytes(to, values); }
};
struct Words {
  using Input = int16_t;
  using Weight = int16_t;
  static constexpr int kLeast = -4095, kSteps = 2 * 4095;
  static constexpr int kGreatestWeight = 32767;
  // The finest with which the magnitudes of the rounded weights add up to 2^31 / 4095 at most, so
  // that no sum of products leaves 32 bits: some 11 bits of weights that are even over 512 inputs.
  static float WeightStep(float greatest, double magnitudes, int inputs) {
    constexpr double kMost = 524'000;
    const double finest = magnitudes / (kMost - 0.5 * inputs);
    const double least = double{greatest} / kGreatestWeight;
    return static_cast<float>(finest > least ? finest : least);
  }
  static Integers AddProducts(Integers sums, Integers inputs, Integers weights) {
    return AddWordProducts(sums, inputs, weights);
  }
  static void StoreInputs(Input* to, Vec values) { StoreAsWords(to, values); }
};

// Memory for one thread's rounded rows.
struct IntegerScratch {
  Array<int16_t> inputs;      // (rows, the layer's inputs rounded up to kWidth): words or bytes
  Array<float> origin, step;  // (rows): what a row was rounded to is origin + step number
  Array<float> mean;          // (rows): of a row's values
  Array<int> row_of;          // (rows): where a row belongs
  // For up to so many rows of up to so many inputs.
  void Allocate(int64_t rows, int64_t most_inputs) {
    inputs.Resize(rows * RoundUp(most_inputs, kWidth));
    origin.Resize(rows);
    step.Resize(rows);
    mean.Resize(rows);
    row_of.Resize(rows);
  }
};

// x W^T with x and W rounded to Operand's integers: a row of x evenly from
// its least value to its greatest, so that nothing is lost to a sign that a rectified row does not
// have; the weights of an output by their magnitudes. Products of integers and their sums are
// exact, and in any order the same. With W' the rounded weights, what is computed is
//   x W^T ~ step scale (x's numbers . W's numbers) + origin sum(W') + mean (sum(W) - sum(W')),
// where origin is the value that has the number 0, so that the weights' rounding meets only how far
// a row's values are from their mean: without the last term it would meet the values, and with
// origin sum(W) in place of the last two how far they are from the origin, several times as much. A
// row with an infinity or NaN becomes NaN, as does one whose range or sum is too large for a float.
template <class Operand>
struct IntegerLinear {
  using Input = typename Operand::Input;
  using Weight = typename Operand::Weight;
  static constexpr int kInLane = static_cast<int>(sizeof(int32_t) / sizeof(Weight));
  // Rows that are computed together.
  static constexpr int kRows = kKeepsProducts ? 4 : 6;

  Array<Weight> panels;  // W^T in panels of kPanel columns, kInLane of a column side by side
  Array<float> scale;    // (out): of an output's numbers
  Array<float> sums;     // (out): of an output's rounded weights
  Array<float> lost;     // (out): of an output's weights, less that
  int in = 0;
  int out = 0;

  void Allocate(int inputs, int outputs) {
    in = inputs;
    out = outputs;
    const int64_t columns = RoundUp(out, kPanel);
    panels.Resize(columns * Steps() * kInLane);
    for (Array<float>* a : {&scale, &sums, &lost}) a->Resize(columns);
  }
  // `count` outputs from `first` on: `weight` (count, in) row-major.
  void Put(const float* weight, int count, int first) {
    for (int o = 0; o < count; ++o, weight += in) {
      float greatest = 0;
      double magnitudes = 0, sum = 0;
      for (int k = 0; k < in; ++k) {
        const float magnitude = __builtin_fabsf(weight[k]);
        greatest = __builtin_fmaxf(greatest, magnitude);
        magnitudes += magnitude;
        sum += weight[k];
      }
      const float weight_step = Operand::WeightStep(greatest, magnitudes, in);
      const float inverse = greatest > 0 ? 1 / weight_step : 0;
      const int column = first + o;
      Weight* const to = PanelOf(column) + column % kPanel * kInLane;
      int64_t whole = 0;
      for (int k = 0; k < in; ++k) {
        const auto number = static_cast<Weight>(__builtin_lrintf(weight[k] * inverse));
        to[k / kInLane * kPanel * kInLane + k % kInLane] = number;
        whole += number;
      }
      const double rounded = double{weight_step} * static_cast<double>(whole);
      scale.get()[column] = weight_step;
      sums.get()[column] = static_cast<float>(rounded);
      lost.get()[column] = static_cast<float>(sum - rounded);
    }
  }

  // finish(x W^T) for the rows of some runs.
  template <class Finish>
  void Multiply(const float* x, ptrdiff_t stride, const RowRun* runs, int num_runs,
                IntegerScratch& scratch, const Finish& finish) const {
    int rows = 0;
    for (const RowRun* run = runs; run < runs + num_runs; ++run) {
      for (int i = 0; i < run->count; i += kWidth) {
        const int first = run->first + i, count = Lesser(kWidth, run->count - i);
        RoundRows(x + first * stride, stride, count, rows, scratch);
        for (int r = 0; r < count; ++r) scratch.row_of.get()[rows++] = first + r;
      }
    }
    for (int j = 0; j < out; j += kPanel) {
      const int vectors = (Lesser(kPanel, out - j) + kWidth - 1) / kWidth;
      const Mask last = TailMask(out - j - kWidth * (vectors - 1));
      AnyPanel<kPanelVectors>(vectors, rows, j, last, scratch, finish);
    }
  }

 private:
  int Steps() const { return static_cast<int>(RoundUp(in, kInLane) / kInLane); }
  Weight* PanelOf(int column) const {
    return panels.get() + int64_t{column / kPanel} * kPanel * Steps() * kInLane;
  }
  int64_t RowSize() const { return RoundUp(in, kWidth); }
  static Input* Inputs(const IntegerScratch& scratch) {
    return reinterpret_cast<Input*>(scratch.inputs.get());
  }

  // Up to kWidth rows of x to those of the scratch from `row` on. What is written beyond a row's
  // end meets weights of zero.
  void RoundRows(const float* x, ptrdiff_t stride, int count, int row,
                 IntegerScratch& scratch) const {
    Vec least[kWidth], greatest[kWidth], sum[kWidth];
    for (int r = 0; r < kWidth; ++r) {
      least[r] = greatest[r] = sum[r] = Zero();
      if (r >= count) continue;
      const float* const from = x + r * stride;
      least[r] = greatest[r] = Set(from[0]);
      ForVectors(in, [&](int64_t e, auto lanes) {
        const Vec loaded = Load(from + e, lanes);
        const Vec values = Select(lanes, loaded, Set(from[0]));
        least[r] = Minimum(least[r], values);
        greatest[r] = Maximum(greatest[r], values);
        sum[r] = sum[r] + loaded;
      });
    }
    const Vec low = ReduceRows<Min>(least), range = ReduceRows<Max>(greatest) - low;
    const Vec step = range * Set(1.0f / Operand::kSteps);
    const Vec origin = NegMulAdd(Set(Operand::kLeast), step, low);
    alignas(64) float shifts[kWidth], inverses[kWidth];
    StoreAll(shifts, origin);
    StoreAll(inverses, Keep(IsPositive(range), Set(Operand::kSteps) / range));
    const Vec mean = ReduceRows<Add>(sum) * Set(1.0f / static_cast<float>(in));
    const Mask lanes = TailMask(count);
    // NaN where mean or step is not finite.
    Store(scratch.origin.get() + row, lanes, MulAdd(mean + step, Zero(), origin));
    Store(scratch.step.get() + row, lanes, step);
    Store(scratch.mean.get() + row, lanes, mean);
    for (int r = 0; r < count; ++r) {
      const float* const from = x + r * stride;
      Input* const to = Inputs(scratch) + (row + r) * RowSize();
      const Vec shift = Set(shifts[r]), inverse = Set(inverses[r]);
      ForVectors(in, [&](int64_t e, auto some) {
        Operand::StoreInputs(to + e, (Load(from + e, some) - shift) * inverse);
      });
    }
  }

  template <int kVectors, class Finish>
  void AnyPanel(int vectors, int rows, int column, Mask last, const IntegerScratch& scratch,
                const Finish& finish) const {
    if constexpr (kVectors > 1) {
      if (vectors < kVectors) {
        AnyPanel<kVectors - 1>(vectors, rows, column, last, scratch, finish);
        return;
      }
    }
    Panel<kVectors>(rows, column, last, scratch, finish);
  }
  // All rows by a panel's kVectors vectors of columns.
  template <int kVectors, class Finish>
  __attribute__((noinline)) void Panel(int rows, int column, Mask last,
                                       const IntegerScratch& scratch, const Finish& finish) const {
    int i = 0;
    for (; rows - i >= kRows; i += kRows) Block<kRows, kVectors>(i, column, last, scratch, finish);
    for (; rows - i >= 2; i += 2) Block<2, kVectors>(i, column, last, scratch, finish);
    if (i < rows) Block<1, kVectors>(i, column, last, scratch, finish);
  }
  // kSome rows by kVectors vectors of columns, held in registers.
  template <int kSome, int kVectors, class Finish>
  inline __attribute__((always_inline)) void Block(int row, int column, Mask last,
                                                   const IntegerScratch& scratch,
                                                   const Finish& finish) const {
    Integers whole[kSome][kVectors];
#pragma GCC unroll 16
    for (int i = 0; i < kSome; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) whole[i][v] = NoIntegers();
    }
    const int64_t row_size = RowSize();
    const Input* left = Inputs(scratch) + row * row_size;
    const Weight* right = PanelOf(column);
    const int steps = Steps();
    for (int l = 0; l < steps; ++l, left += kInLane, right += kPanel * kInLane) {
      Integers values[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) values[v] = LoadIntegers(right + v * kWidth * kInLane);
#pragma GCC unroll 16
      for (int i = 0; i < kSome; ++i) {
        const Integers factor = RepeatLane(left + i * row_size);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          whole[i][v] = Operand::AddProducts(whole[i][v], factor, values[v]);
        }
      }
    }
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const int at = column + v * kWidth;
      const Vec scales = LoadAll(scale.get() + at);
      const Vec kept = LoadAll(sums.get() + at), rest = LoadAll(lost.get() + at);
#pragma GCC unroll 16
      for (int i = 0; i < kSome; ++i) {
        const Vec origin = Set(scratch.origin.get()[row + i]);
        const Vec apart = MulAdd(Set(scratch.mean.get()[row + i]), rest, origin * kept);
        const Vec sum =
            MulAdd(Set(scratch.step.get()[row + i]) * scales, ToFloats(whole[i][v]), apart);
        const int to = scratch.row_of.get()[row + i];
        if (v + 1 < kVectors) {
          finish(to, at, sum, AllLanes());
        } else {
          finish(to, at, sum, last);
        }
      }
    }
  }
};

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_INTEGER_LINEAR_H_
