#include "model/dime/weights.h"

#include <map>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "index/status_macros.h"

namespace dime {
namespace {

// Parameters and running statistics by name. Batch norm's step counter takes no part in inference,
// and with a fixed momentum none in training.
std::map<std::string, torch::Tensor> NamedTensors(const torch::nn::Module& module) {
  std::map<std::string, torch::Tensor> tensors;
  for (const auto& item : module.named_parameters()) tensors[item.key()] = item.value();
  for (const auto& item : module.named_buffers()) {
    if (!absl::EndsWith(item.key(), "num_batches_tracked")) tensors[item.key()] = item.value();
  }
  return tensors;
}

std::string ShapeString(absl::Span<const int64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

}  // namespace

absl::Status LoadWeights(const SafetensorsFile& file, torch::nn::Module& module,
                         const std::function<bool(absl::string_view)>& ignore) {
  const std::map<std::string, torch::Tensor> wanted = NamedTensors(module);
  std::vector<std::string> problems;
  torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : wanted) {
    const TensorView* view = file.Find(name);
    if (view == nullptr) {
      problems.push_back(absl::StrCat(name, " is missing"));
      continue;
    }
    if (view->shape != tensor.sizes().vec()) {
      problems.push_back(absl::StrCat(name, " has the shape ", ShapeString(view->shape),
                                      ", expected ", ShapeString(tensor.sizes().vec())));
      continue;
    }
    absl::StatusOr<std::vector<float>> values = view->ToFloats();
    if (!values.ok()) {
      problems.push_back(absl::StrCat(name, ": ", values.status().message()));
      continue;
    }
    tensor.detach().copy_(torch::from_blob(values->data(), tensor.sizes(), torch::kFloat32));
  }
  for (const auto& [name, view] : file.tensors()) {
    if (!wanted.contains(name) && !ignore(name)) {
      problems.push_back(absl::StrCat(name, " is unexpected"));
    }
  }
  if (problems.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      file.path(), " does not fit the model's configuration: ", absl::StrJoin(problems, "; ")));
}

absl::Status SaveWeights(const torch::nn::Module& module, const std::string& path,
                         const std::map<std::string, std::string>& metadata) {
  const std::map<std::string, torch::Tensor> tensors = NamedTensors(module);
  std::vector<SafetensorsWriter::Declaration> declarations;
  for (const auto& [name, tensor] : tensors) {
    declarations.push_back({name, TensorType::kFloat32, tensor.sizes().vec()});
  }
  ASSIGN_OR_RETURN(const auto writer,
                   SafetensorsWriter::Create(path, std::move(declarations), metadata));
  for (const auto& [name, tensor] : tensors) {
    const torch::Tensor values = tensor.detach().to(torch::kCPU, torch::kFloat32).contiguous();
    RETURN_IF_ERROR(writer->AppendFloats(
        name, {values.data_ptr<float>(), static_cast<size_t>(values.numel())}));
  }
  return writer->Finish();
}

}  // namespace dime
