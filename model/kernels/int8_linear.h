#ifndef DIME_MODEL_KERNELS_INT8_LINEAR_H_
#define DIME_MODEL_KERNELS_INT8_LINEAR_H_

#include <cstddef>
#include <cstring>

#include "model/kernels/array.h"
#include "model/kernels/float_product.h"
#include "model/kernels/integer_linear.h"
#include "model/kernels/interaction_weights.h"

// A linear layer that multiplies bytes, or words of 16 bits where it must not round as much. For
// the units that float_vector.h is for; in an unnamed namespace for the same reason.
namespace dime::kernels {
namespace {

// As FloatLinear has it; IntegerLinear says how it rounds.
struct Int8Linear {
  using Router = Int8Linear;  // packed finely
  static constexpr int kPairsAtATime = 2;  // weights are a quarter as large
  using Scratch = IntegerScratch;

  IntegerLinear<Bytes> bytes;
  IntegerLinear<Words> words;  // in place of bytes in a layer packed by PackFinely()
  Array<float> bias;           // (out)
  int in = 0;
  int out = 0;

  void Allocate(int inputs, int outputs) {
    in = inputs;
    out = outputs;
    bytes.Allocate(in, out);
    bias.Resize(out);
  }
  // `count` outputs from `first` on: `weight` (count, in) row-major.
  void Put(const float* weight, const float* biases, int count, int first) {
    bytes.Put(weight, count, first);
    std::memcpy(bias.get() + first, biases, count * sizeof(float));
  }
  void Pack(const LinearWeights& linear) {
    Allocate(linear.in, linear.out);
    Put(linear.weight, linear.bias, out, 0);
  }
  void PackFinely(const LinearWeights& linear) {
    in = linear.in;
    out = linear.out;
    words.Allocate(in, out);
    words.Put(linear.weight, out, 0);
    bias.Resize(out);
    std::memcpy(bias.get(), linear.bias, out * sizeof(float));
  }

  // finish(x W^T) for the rows of some runs.
  template <class Finish>
  void Multiply(const float* x, ptrdiff_t stride, const RowRun* runs, int num_runs,
                Scratch& scratch, const Finish& finish) const {
    if (words.out > 0) {
      words.Multiply(x, stride, runs, num_runs, scratch, finish);
    } else {
      bytes.Multiply(x, stride, runs, num_runs, scratch, finish);
    }
  }
};

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_INT8_LINEAR_H_
