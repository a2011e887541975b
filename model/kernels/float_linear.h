#ifndef DIME_MODEL_KERNELS_FLOAT_LINEAR_H_
#define DIME_MODEL_KERNELS_FLOAT_LINEAR_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "model/kernels/array.h"
#include "model/kernels/float_product.h"
#include "model/kernels/float_rows.h"
#include "model/kernels/interaction_weights.h"

// A linear layer in float32. For the units that float_vector.h is for; in an unnamed namespace for
// the same reason.
namespace dime::kernels {
namespace {

// y = x W^T + b and its gradients: W^T (in, out) in panels, and the bias.
struct FloatLinear {
  using Router = FloatLinear;  // a router's first layer, where the cells' layers are this
  static constexpr int kPairsAtATime = 4;
  // What products need besides, and while it lives, may be made in this thread: nothing here.
  struct Scratch {
    void Allocate(int64_t, int64_t) {}
  };
  struct Session {
    Session() {}
  };

  Array<float> panels;
  Array<float> bias;
  int in = 0;
  int out = 0;
  const float* rows = nullptr;  // W (out, in) as it was packed: borrowed, for MultiplyBack()

  void Allocate(int inputs, int outputs) {
    in = inputs;
    out = outputs;
    panels.Resize(PanelsSize(in, out));
    bias.Resize(out);
  }
  // `count` outputs from `first` on: `weight` (count, in) row-major.
  void Put(const float* weight, const float* biases, int count, int first) {
    std::memcpy(bias.get() + first, biases, count * sizeof(float));
    for (int o = 0; o < count;) {
      const int column = (first + o) % kPanel;
      const int size = Lesser(kPanel - column, count - o);
      TransposeTo(weight + int64_t{o} * in, in, size, in,
                  panels.get() + int64_t{(first + o) / kPanel} * kPanel * in + column, kPanel);
      o += size;
    }
  }
  void Pack(const float* weight, const float* biases, int inputs, int outputs) {
    Allocate(inputs, outputs);
    Put(weight, biases, outputs, 0);
    rows = weight;
  }
  void Pack(const LinearWeights& linear) {
    Allocate(linear.in, linear.out);
    Put(linear.weight, linear.bias, out, 0);
  }
  // As layers that round have it, where they must not.
  void PackFinely(const LinearWeights& linear) { Pack(linear); }
  Right weight() const { return Panels(panels.get(), in); }

  // finish(x W^T) for the rows of some runs.
  template <class Finish>
  void Multiply(const float* x, ptrdiff_t stride, const RowRun* runs, int num_runs, Scratch&,
                const Finish& finish) const {
    FloatProduct(Rows(x, stride), weight(), runs, num_runs, out, in, finish);
  }
  // finish(gradient W): with respect to x.
  template <class Finish>
  void MultiplyBack(const float* gradient, ptrdiff_t stride, int count, Scratch&,
                    const Finish& finish) const {
    FloatProduct(Rows(gradient, stride), RowMajor(rows, in), count, in, out, finish);
  }
  // weights (out, in) += gradient^T x.
  static void AddProduct(const float* gradient, ptrdiff_t gradient_stride, int out, const float* x,
                         ptrdiff_t x_stride, int in, int count, float* weights, Scratch&) {
    FloatProduct(Columns(gradient, gradient_stride), RowMajor(x, x_stride), out, in, count,
                 AddTo{weights, in});
  }
};

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_FLOAT_LINEAR_H_
