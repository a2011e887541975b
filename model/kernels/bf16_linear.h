#ifndef DIME_MODEL_KERNELS_BF16_LINEAR_H_
#define DIME_MODEL_KERNELS_BF16_LINEAR_H_

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "model/kernels/array.h"
#include "model/kernels/float_linear.h"
#include "model/kernels/float_product.h"
#include "model/kernels/float_rows.h"
#include "model/kernels/float_vector.h"
#include "model/kernels/tile_operands.h"
#include "model/kernels/tile_product.h"
#include "model/kernels/vector_math.h"

// Products of float32 matrices whose operands are rounded to bfloat16 on their way, with sums in
// float32: the linear layers of training in mixed precision, forward and backward. For the units
// that vector_math.h is for; in an unnamed namespace, as they share no inline functions with
// others.
namespace dime::kernels {
namespace {

// Memory for one thread's operands.
struct Bf16Scratch {
  Array<Bf16> left, right;
  Array<float> block;  // (32, 32)
  Array<int> row_of;   // of a left operand's rows, where they belong
  // For products of up to so many rows by so many columns.
  void Allocate(int64_t rows, int64_t columns) {
    rows = RoundUp(rows, kBlock);
    columns = RoundUp(columns, kBlock);
    left.Resize(rows * columns);
    right.Resize(rows * columns);
    block.Resize(kBlock * kBlock);
    row_of.Resize(rows);
  }
};

// y = x W^T + b and its gradients, as FloatLinear, with x, W and the gradient of y rounded.
template <class Isa>
struct Bf16Linear {
  using Router = FloatLinear;
  static constexpr int kPairsAtATime = 4;
  using Scratch = Bf16Scratch;
  // While it lives, products may be made in this thread.
  struct Session {
    Session() { Isa::Begin(); }
    ~Session() { Isa::End(); }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
  };

  Array<Bf16> forward;   // W^T (in, out)
  Array<Bf16> backward;  // W (out, in)
  Array<float> bias;
  int in = 0;
  int out = 0;

  void Pack(const float* weight, const float* biases, int inputs, int outputs) {
    in = inputs;
    out = outputs;
    forward.Resize(RightSize(in, out));
    backward.Resize(RightSize(out, in));
    bias.Resize(out);
    std::memcpy(bias.get(), biases, out * sizeof(float));
    PackColumns(weight, in, in, out, /*parts=*/1, forward.get());
    PackRows(weight, in, out, in, backward.get());
  }

  // finish(x W^T) for the rows of some runs.
  template <class Finish>
  void Multiply(const float* x, ptrdiff_t stride, const RowRun* runs, int num_runs,
                Scratch& scratch, const Finish& finish) const {
    Product(x, stride, runs, num_runs, in, forward.get(), out, scratch, finish);
  }
  // finish(gradient W): with respect to x.
  template <class Finish>
  void MultiplyBack(const float* gradient, ptrdiff_t stride, int rows, Scratch& scratch,
                    const Finish& finish) const {
    const RowRun all = {0, rows};
    Product(gradient, stride, &all, 1, out, backward.get(), in, scratch, finish);
  }
  // weights (out, in) += gradient^T x.
  static void AddProduct(const float* gradient, ptrdiff_t gradient_stride, int out, const float* x,
                         ptrdiff_t x_stride, int in, int rows, float* weights, Scratch& scratch) {
    TransposeRows(gradient, gradient_stride, rows, out, scratch.left.get());
    PackRows(x, x_stride, rows, in, scratch.right.get());
    const int steps = static_cast<int>(LeftStride(rows) / 32);
    float* const block = scratch.block.get();
    // Along the rows of the weights, which come from memory.
    for (int i = 0; i < out; i += kBlock) {
      const Bf16* const left = scratch.left.get() + i * LeftStride(rows);
      const int high = Lesser(kBlock, out - i);
      for (int j = 0; j < in; j += kBlock) {
        const Bf16* const panel = scratch.right.get() + j / kBlock * PanelSize(rows);
        const int wide = Lesser(kBlock, in - j);
        float* const to = weights + int64_t{i} * in + j;
        if (high == kBlock && wide == kBlock) {
          Isa::AddBlock(left, LeftStride(rows), panel, steps, to, in);
          continue;
        }
        Isa::template Block<false>(left, LeftStride(rows), 0, kBlock, panel, steps, block,
                                   [](int) {});
        for (int r = 0; r < high; ++r) {
          ForVectors(wide, [&](int64_t e, auto lanes) {
            Accumulate(to + int64_t{r} * in + e, lanes, Load(block + r * kBlock + e, lanes));
          });
        }
      }
    }
  }

 private:
  template <class Finish>
  static void Product(const float* x, ptrdiff_t stride, const RowRun* runs, int num_runs, int inner,
                      const Bf16* right, int columns, Scratch& scratch, const Finish& finish) {
    Bf16* const left = scratch.left.get();
    int* const row_of = scratch.row_of.get();
    float* const block = scratch.block.get();
    const int64_t left_stride = LeftStride(inner);
    int rows = 0;
    for (const RowRun* run = runs; run < runs + num_runs; ++run) {
      for (int i = run->first; i < run->first + run->count; ++i, ++rows) {
        RoundRow(x + i * stride, inner, left + rows * left_stride);
        row_of[rows] = i;
      }
    }
    const int steps = static_cast<int>(left_stride / 32);
    for (int j = 0; j < columns; j += kBlock) {
      const Bf16* const panel = right + j / kBlock * PanelSize(inner);
      const int wide = columns - j;
      for (int i = 0; i < rows; i += kBlock) {
        const int high = Lesser(kBlock, rows - i);
        Isa::template Block<false>(left + i * left_stride, left_stride, 0, high > 16 ? 32 : 16,
                                   panel, steps, block, [](int) {});
        for (int r = 0; r < high; ++r) {
          const int row = row_of[i + r];
          const float* const sums = block + r * kBlock;
          if (wide >= kBlock) {
            finish(row, j, LoadAll(sums), AllLanes());
            finish(row, j + kWidth, LoadAll(sums + kWidth), AllLanes());
          } else {
            finish(row, j, LoadAll(sums), TailMask(wide));
            if (wide > kWidth) {
              finish(row, j + kWidth, LoadAll(sums + kWidth), TailMask(wide - kWidth));
            }
          }
        }
      }
    }
  }
};

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_BF16_LINEAR_H_
