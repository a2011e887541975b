#ifndef DIME_MODEL_KERNELS_FLOAT_PRODUCT_H_
#define DIME_MODEL_KERNELS_FLOAT_PRODUCT_H_

#include <cstddef>
#include <cstdint>

#include "model/kernels/array.h"
#include "model/kernels/float_vector.h"

// Matrix products in float32 of operands that lie in a core's cache. What follows a product (a
// bias, a rectifier, a residual) is done while it is still in registers. For the units that
// float_vector.h is for; in an unnamed namespace for the same reason.
namespace dime::kernels {
namespace {

// Columns that are computed together, and rows: so many that their sums, the columns' values and a
// row's factor fill the registers, of which AVX-512 has twice as many.
constexpr int kPanelVectors = kWidth == 16 ? 4 : 2;
constexpr int kPanel = kPanelVectors * kWidth;
constexpr int kPanelRows = 6;

// A left operand (m, k), or a transposed one: element (i, l) is at data[i * row + l * column].
struct Left {
  const float* data;
  ptrdiff_t row;
  ptrdiff_t column;
};
inline Left Rows(const float* data, ptrdiff_t stride) { return {data, stride, 1}; }
inline Left Columns(const float* data, ptrdiff_t stride) { return {data, 1, stride}; }

// A right operand (k, n): element (l, j) is at data[j / kPanel * panel + l * row + j % kPanel].
struct Right {
  const float* data;
  ptrdiff_t row;
  ptrdiff_t panel;
};
inline Right RowMajor(const float* data, ptrdiff_t stride) { return {data, stride, kPanel}; }
// In panels of kPanel columns side by side, one after the other, the last one padded.
inline Right Panels(const float* data, int inner) {
  return {data, kPanel, ptrdiff_t{kPanel} * inner};
}
constexpr int64_t PanelsSize(int inner, int columns) { return RoundUp(columns, kPanel) * inner; }

// Rows of a left operand that a product is made of.
struct RowRun {
  int first;
  int count;
};

// What becomes of a product's values from (row, column) on, of which `mask` says which are within
// the matrix.
struct StoreTo {
  float* to;
  ptrdiff_t stride;
  template <class Lanes>
  void operator()(int row, int column, Vec sum, Lanes mask) const {
    Store(to + row * stride + column, mask, sum);
  }
};
struct AddTo {
  float* to;
  ptrdiff_t stride;
  template <class Lanes>
  void operator()(int row, int column, Vec sum, Lanes mask) const {
    float* const at = to + row * stride + column;
    Store(at, mask, Load(at, mask) + sum);
  }
};
struct AddBias {
  float* to;
  ptrdiff_t stride;
  const float* bias;
  template <class Lanes>
  void operator()(int row, int column, Vec sum, Lanes mask) const {
    Store(to + row * stride + column, mask, sum + Load(bias + column, mask));
  }
};
struct AddBiasAndRectify {  // leaves NaN what it is
  float* to;
  ptrdiff_t stride;
  const float* bias;
  template <class Lanes>
  void operator()(int row, int column, Vec sum, Lanes mask) const {
    Store(to + row * stride + column, mask, Maximum(Zero(), sum + Load(bias + column, mask)));
  }
};
// `residual` has the stride of `to`; `bias` may be null.
struct AddResidual {
  float* to;
  ptrdiff_t stride;
  const float* residual;
  const float* bias;
  template <class Lanes>
  void operator()(int row, int column, Vec sum, Lanes mask) const {
    sum = sum + Load(residual + row * stride + column, mask);
    if (bias != nullptr) sum = sum + Load(bias + column, mask);
    Store(to + row * stride + column, mask, sum);
  }
};
// The gradient before a rectifier: 0 where its output, of the stride of `to`, is 0.
struct WhereRectifierOpen {
  float* to;
  ptrdiff_t stride;
  const float* rectified;
  template <class Lanes>
  void operator()(int row, int column, Vec sum, Lanes mask) const {
    const Vec output = Load(rectified + row * stride + column, mask);
    Store(to + row * stride + column, mask, Keep(IsPositive(output), sum));
  }
};

// kRows rows of a product by up to kVectors vectors of columns, held in registers. `b` and `column`
// are where the first of them is.
template <int kRows, int kVectors, class Lanes, class Finish>
inline __attribute__((always_inline)) void FloatBlock(const Left& a, int row, const float* b,
                                                      ptrdiff_t b_stride, int column, int inner,
                                                      Lanes last, const Finish& finish) {
  Vec sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[i][v] = Zero();
  }
  const float* left = a.data + row * a.row;
  for (int l = 0; l < inner; ++l, left += a.column, b += b_stride) {
    Vec values[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v + 1 < kVectors; ++v) values[v] = LoadAll(b + kWidth * v);
    values[kVectors - 1] = Load(b + kWidth * (kVectors - 1), last);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const Vec factor = Set(left[i * a.row]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[i][v] = MulAdd(factor, values[v], sums[i][v]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v + 1 < kVectors; ++v) {
      finish(row + i, column + kWidth * v, sums[i][v], AllLanes());
    }
    finish(row + i, column + kWidth * (kVectors - 1), sums[i][kVectors - 1], last);
  }
}

// Runs of rows of a panel's columns: as many rows at once as the registers hold, and what is left
// of a run in one or two blocks that are not much smaller.
template <int kVectors, class Lanes, class Finish>
__attribute__((noinline)) void FloatPanel(const Left& a, const RowRun* runs, int num_runs,
                                          const float* b, ptrdiff_t b_stride, int column, int inner,
                                          Lanes last, const Finish& finish) {
  constexpr int kMost = kVectors > 1 ? kPanelRows : 2 * kPanelRows;
  for (const RowRun* run = runs; run < runs + num_runs; ++run) {
    int i = run->first;
    const int end = run->first + run->count;
    for (; end - i >= kMost + 3 || end - i == kMost; i += kMost) {
      FloatBlock<kMost, kVectors>(a, i, b, b_stride, column, inner, last, finish);
    }
    for (; end - i >= 4; i += 4) {
      FloatBlock<4, kVectors>(a, i, b, b_stride, column, inner, last, finish);
    }
    switch (end - i) {
      case 3:
        FloatBlock<3, kVectors>(a, i, b, b_stride, column, inner, last, finish);
        break;
      case 2:
        FloatBlock<2, kVectors>(a, i, b, b_stride, column, inner, last, finish);
        break;
      case 1:
        FloatBlock<1, kVectors>(a, i, b, b_stride, column, inner, last, finish);
        break;
      default:
        break;
    }
  }
}

// finish(A B) for the rows of some runs: A (m, k), B (k, n). Each element's sum runs over k in
// order, whatever the runs are. A panel's columns stay in the first-level cache while the rows
// stream past it.
template <class Finish>
inline void FloatProduct(const Left& a, const Right& b, const RowRun* runs, int num_runs, int n,
                         int k, const Finish& finish) {
  for (int j = 0; j < n; j += kPanel) {
    const float* const panel = b.data + j / kPanel * b.panel;
    const int columns = n - j;
    if (columns >= kPanel) {
      FloatPanel<kPanelVectors>(a, runs, num_runs, panel, b.row, j, k, AllLanes(), finish);
      continue;
    }
    const int vectors = (columns + kWidth - 1) / kWidth;
    const Mask last = TailMask(columns - kWidth * (vectors - 1));
    if constexpr (kPanelVectors > 2) {
      if (vectors == 4) {
        FloatPanel<4>(a, runs, num_runs, panel, b.row, j, k, last, finish);
        continue;
      }
      if (vectors == 3) {
        FloatPanel<3>(a, runs, num_runs, panel, b.row, j, k, last, finish);
        continue;
      }
    }
    if (vectors == 2) {
      FloatPanel<2>(a, runs, num_runs, panel, b.row, j, k, last, finish);
    } else {
      FloatPanel<1>(a, runs, num_runs, panel, b.row, j, k, last, finish);
    }
  }
}
// All m rows.
template <class Finish>
inline void FloatProduct(const Left& a, const Right& b, int m, int n, int k, const Finish& finish) {
  const RowRun all = {0, m};
  FloatProduct(a, b, &all, 1, n, k, finish);
}

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_FLOAT_PRODUCT_H_
