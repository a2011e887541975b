#ifndef DIME_BENCHMARKS_HARDWARE_RATES_H_
#define DIME_BENCHMARKS_HARDWARE_RATES_H_

#include <torch/torch.h>

#include <cstdint>
#include <functional>

namespace dime {

// What the hardware gives in the run that a rate was measured in: the ceilings to read it beside.

// TFLOP/s of a plain product of square matrices, one run.
double MatrixProduct(const torch::Device& device, int64_t size, torch::Dtype type);
// A size at which that is near its best.
inline int64_t PlainProductSize(const torch::Device& device) {
  return device.is_cpu() ? 2048 : 8192;
}

// GB/s of a copy of 4 GB within the device, both ways counted: what its memory gives. One run.
double CopyGigabytes(const torch::Device& device);

struct Measured {
  double median = 0, low = 0, high = 0;
};
// What `once` gives in `runs` runs, after two to warm up.
Measured Measure(int runs, const std::function<double()>& once);

}  // namespace dime

#endif  // DIME_BENCHMARKS_HARDWARE_RATES_H_
