#ifndef DIME_MODEL_KERNELS_INT8_LINEAR_H_
#define DIME_MODEL_KERNELS_INT8_LINEAR_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>

#include "model/kernels/array.h"
#include "model/kernels/byte_vector.h"
#include "model/kernels/float_linear.h"
#include "model/kernels/float_product.h"
#include "model/kernels/float_rows.h"
#include "model/kernels/float_vector.h"
#include "model/kernels/interaction_weights.h"

// A linear layer that multiplies bytes. For the units that float_vector.h is for; in an unnamed
// namespace for the same reason.
namespace dime::kernels {
namespace {

// Memory for one thread's rows of bytes.
struct Int8Scratch {
  Array<uint8_t> bytes;       // (rows, the layer's inputs rounded up to kWidth)
  Array<float> lowest, step;  // (rows): what a row was rounded to is lowest + step byte
  Array<float> mean;          // (rows): of a row's values
  Array<int> row_of;          // (rows): where a row belongs
  // For up to so many rows of up to so many inputs.
  void Allocate(int64_t rows, int64_t inputs) {
    bytes.Resize(rows * RoundUp(inputs, kWidth));
    lowest.Resize(rows);
    step.Resize(rows);
    mean.Resize(rows);
    row_of.Resize(rows);
  }
};

// y = x W^T + b, as FloatLinear, with x and W rounded to bytes: a row of x to 0..255, evenly from
// its least value to its greatest, so that nothing is lost to a sign that a rectified row does not
// have; the weights of an output to -kGreatestSigned..kGreatestSigned by their greatest magnitude.
// Products of bytes and their sums are exact (up to 66,000 inputs), and in any order the same. With
// W' the rounded weights, what is computed is
//   x W^T ~ step scale (bytes . W's bytes) + lowest sum(W') + mean (sum(W) - sum(W')),
// so that the weights' rounding meets only how far a row's values are from their mean: without the
// last term it would meet the values, and with lowest sum(W) in place of the last two how far they
// are from the lowest, several times as much. A row with an infinity or NaN becomes NaN, as does
// one whose range or sum is too large for a float.
struct Int8Linear {
  static constexpr int kPairsAtATime = 2;  // weights are a quarter as large
  using Scratch = Int8Scratch;

  Array<int8_t> panels;  // W^T in panels of kPanel columns, kLaneBytes of a column side by side
  Array<float> scale;    // (out): of an output's bytes
  Array<float> sums;     // (out): of an output's rounded weights
  Array<float> lost;     // (out): of an output's weights, less that
  Array<float> bias;     // (out)
  FloatLinear exact;     // all there is of a layer packed by PackExactly()
  int in = 0;
  int out = 0;

  void Allocate(int inputs, int outputs) {
    in = inputs;
    out = outputs;
    const int64_t columns = RoundUp(out, kPanel);
    panels.Resize(columns * Steps() * kLaneBytes);
    for (Array<float>* a : {&scale, &sums, &lost, &bias}) a->Resize(columns);
  }
  // `count` outputs from `first` on: `weight` (count, in) row-major.
  void Put(const float* weight, const float* biases, int count, int first) {
    std::memcpy(bias.get() + first, biases, count * sizeof(float));
    for (int o = 0; o < count; ++o, weight += in) {
      float greatest = 0;
      for (int k = 0; k < in; ++k) {
        greatest = __builtin_fmaxf(greatest, __builtin_fabsf(weight[k]));
      }
      const float inverse = greatest > 0 ? kGreatestSigned / greatest : 0;
      const int column = first + o;
      int8_t* const to = PanelOf(column) + column % kPanel * kLaneBytes;
      double sum = 0;
      int64_t whole = 0;
      for (int k = 0; k < in; ++k) {
        const auto byte = static_cast<int8_t>(__builtin_lrintf(weight[k] * inverse));
        to[k / kLaneBytes * kPanel * kLaneBytes + k % kLaneBytes] = byte;
        sum += weight[k];
        whole += byte;
      }
      const double rounded = double{greatest} / kGreatestSigned * static_cast<double>(whole);
      scale.get()[column] = greatest / kGreatestSigned;
      sums.get()[column] = static_cast<float>(rounded);
      lost.get()[column] = static_cast<float>(sum - rounded);
    }
  }
  void Pack(const LinearWeights& linear) {
    Allocate(linear.in, linear.out);
    Put(linear.weight, linear.bias, out, 0);
  }
  // A layer that is not rounded: it multiplies in float32.
  void PackExactly(const LinearWeights& linear) {
    in = linear.in;
    out = linear.out;
    bias.Resize(out);
    std::memcpy(bias.get(), linear.bias, out * sizeof(float));
    exact.Pack(linear);
  }

  // finish(x W^T) for the rows of some runs.
  template <class Finish>
  void Multiply(const float* x, ptrdiff_t stride, const RowRun* runs, int num_runs,
                Scratch& scratch, const Finish& finish) const {
    if (exact.out > 0) {
      FloatLinear::Scratch none;
      exact.Multiply(x, stride, runs, num_runs, none, finish);
      return;
    }
    int rows = 0;
    for (const RowRun* run = runs; run < runs + num_runs; ++run) {
      for (int i = 0; i < run->count; i += kWidth) {
        const int first = run->first + i, count = Lesser(kWidth, run->count - i);
        ToBytes(x + first * stride, stride, count, rows, scratch);
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
  int Steps() const { return static_cast<int>(RoundUp(in, kLaneBytes) / kLaneBytes); }
  int8_t* PanelOf(int column) const {
    return panels.get() + int64_t{column / kPanel} * kPanel * Steps() * kLaneBytes;
  }
  int64_t RowBytes() const { return RoundUp(in, kWidth); }

  // Up to kWidth rows of x to those of the scratch from `row` on. What is written beyond a row's
  // end meets weights of zero.
  void ToBytes(const float* x, ptrdiff_t stride, int count, int row, Scratch& scratch) const {
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
    alignas(64) float shifts[kWidth], inverses[kWidth];
    StoreAll(shifts, low);
    StoreAll(inverses, Keep(IsPositive(range), Set(255) / range));
    const Vec mean = ReduceRows<Add>(sum) * Set(1.0f / static_cast<float>(in));
    const Mask lanes = TailMask(count);
    Store(scratch.lowest.get() + row, lanes, MulAdd(mean, Zero(), low));  // NaN of no finite mean
    Store(scratch.step.get() + row, lanes, range * Set(1.0f / 255));
    Store(scratch.mean.get() + row, lanes, mean);
    for (int r = 0; r < count; ++r) {
      const float* const from = x + r * stride;
      uint8_t* const to = scratch.bytes.get() + (row + r) * RowBytes();
      const Vec shift = Set(shifts[r]), inverse = Set(inverses[r]);
      ForVectors(in, [&](int64_t e, auto some) {
        StoreAsBytes(to + e, (Load(from + e, some) - shift) * inverse);
      });
    }
  }

  template <int kVectors, class Finish>
  void AnyPanel(int vectors, int rows, int column, Mask last, const Scratch& scratch,
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
  __attribute__((noinline)) void Panel(int rows, int column, Mask last, const Scratch& scratch,
                                       const Finish& finish) const {
    int i = 0;
    for (; rows - i >= kPanelRows; i += kPanelRows) {
      Block<kPanelRows, kVectors>(i, column, last, scratch, finish);
    }
    for (; rows - i >= 2; i += 2) Block<2, kVectors>(i, column, last, scratch, finish);
    if (i < rows) Block<1, kVectors>(i, column, last, scratch, finish);
  }
  // kRows rows by kVectors vectors of columns, held in registers.
  template <int kRows, int kVectors, class Finish>
  inline __attribute__((always_inline)) void Block(int row, int column, Mask last,
                                                   const Scratch& scratch,
                                                   const Finish& finish) const {
    Integers whole[kRows][kVectors];
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) whole[i][v] = NoIntegers();
    }
    const int64_t row_bytes = RowBytes();
    const uint8_t* left = scratch.bytes.get() + row * row_bytes;
    const int8_t* right = PanelOf(column);
    const int steps = Steps();
    for (int l = 0; l < steps; ++l, left += kLaneBytes, right += kPanel * kLaneBytes) {
      Integers values[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        values[v] = LoadBytes(right + v * kWidth * kLaneBytes);
      }
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const Integers factor = RepeatBytes(left + i * row_bytes);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          whole[i][v] = AddProducts(whole[i][v], factor, values[v]);
        }
      }
    }
    const float* const scales = scale.get() + column;
    const float *const kept = sums.get() + column, *const rest = lost.get() + column;
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const Vec step = Set(scratch.step.get()[row + i]);
      const Vec lowest = Set(scratch.lowest.get()[row + i]);
      const Vec mean = Set(scratch.mean.get()[row + i]);
      const int to = scratch.row_of.get()[row + i];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const int at = v * kWidth;
        const Vec apart = MulAdd(mean, LoadAll(rest + at), lowest * LoadAll(kept + at));
        const Vec sum = MulAdd(step * LoadAll(scales + at), ToFloats(whole[i][v]), apart);
        if (v + 1 < kVectors) {
          finish(to, column + at, sum, AllLanes());
        } else {
          finish(to, column + at, sum, last);
        }
      }
    }
  }
};

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_INT8_LINEAR_H_
