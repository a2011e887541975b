#include "benchmarks/hardware_rates.h"

#include <algorithm>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace dime {

double MatrixProduct(const torch::Device& device, int64_t size, torch::Dtype type) {
  c10::InferenceMode inference;
  const torch::Tensor a = torch::randn({size, size}).to(device, type);
  const torch::Tensor b = torch::randn({size, size}).to(device, type);
  (void)a.sum().item<float>();  // waits for the device
  const absl::Time start = absl::Now();
  (void)torch::matmul(a, b)[0][0].item<float>();
  const auto n = static_cast<double>(size);
  return 2 * n * n * n / absl::ToDoubleSeconds(absl::Now() - start) * 1e-12;
}

double CopyGigabytes(const torch::Device& device) {
  c10::InferenceMode inference;
  const torch::Tensor from = torch::zeros({int64_t{1} << 30}, torch::TensorOptions(device));
  torch::Tensor to = torch::empty_like(from);
  (void)from[0].item<float>();
  const absl::Time start = absl::Now();
  to.copy_(from);
  (void)to[0].item<float>();
  return 2.0 * static_cast<double>(from.nbytes()) / absl::ToDoubleSeconds(absl::Now() - start) *
         1e-9;
}

Measured Measure(int runs, const std::function<double()>& once) {
  once();
  once();
  std::vector<double> rates;
  for (int i = 0; i < runs; ++i) rates.push_back(once());
  std::sort(rates.begin(), rates.end());
  return {rates[rates.size() / 2], rates.front(), rates.back()};
}

}  // namespace dime
