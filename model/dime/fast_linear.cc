#include "model/dime/fast_linear.h"

#include <ATen/Context.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <cstdint>
#include <optional>

#include "model/dime/mixed_precision.h"

namespace dime {
namespace {

// Rows below which oneDNN is the slower one where sums are longer than there are outputs: those of
// a caption alone; two have more.
constexpr int64_t kLeastRows = 32;

// What LibTorch's own compiler makes of linear layers on a CPU: input, weight, bias, what follows
// the product ("none"), and that one's arguments and kind.
using LinearPointwise = at::Tensor(const at::Tensor&, const at::Tensor&,
                                   const std::optional<at::Tensor>&, c10::string_view,
                                   c10::List<std::optional<at::Scalar>>,
                                   std::optional<c10::string_view>);

// oneDNN's, on processors where it is the faster one.
std::optional<c10::TypedOperatorHandle<LinearPointwise>> FindOneDnn() {
#if defined(__x86_64__)
  if (!at::hasMKL() || __builtin_cpu_is("intel")) return std::nullopt;
  const auto schema =
      c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", /*overload=*/""});
  if (!schema.has_value()) return std::nullopt;
  try {
    return schema->typed<LinearPointwise>();
  } catch (const c10::Error&) {  // another release's, with other arguments
    return std::nullopt;
  }
#else
  return std::nullopt;
#endif
}

}  // namespace

torch::Tensor FastLinear(torch::nn::Linear& linear, const torch::Tensor& x) {
  static const auto one_dnn = FindOneDnn();
  const torch::Tensor& weight = linear->weight;
  const auto is_plain = [](const torch::Tensor& tensor) {
    return tensor.is_cpu() && tensor.scalar_type() == torch::kFloat32;
  };
  const bool has_gradient =
      torch::GradMode::is_enabled() && (x.requires_grad() || weight.requires_grad());
  if (!one_dnn.has_value() || has_gradient || !is_plain(x) || !is_plain(weight) ||
      !linear->bias.defined() || MixedPrecision::IsOn(torch::kCPU) || x.numel() == 0) {
    return linear->forward(x);
  }
  const int64_t in = weight.size(1), rows = x.numel() / in;
  if (rows < kLeastRows && in > weight.size(0)) return linear->forward(x);
  return one_dnn->call(x, weight, linear->bias, "none", c10::List<std::optional<at::Scalar>>(),
                       std::nullopt);
}

}  // namespace dime
