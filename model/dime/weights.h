#ifndef DIME_MODEL_DIME_WEIGHTS_H_
#define DIME_MODEL_DIME_WEIGHTS_H_

#include <torch/torch.h>

#include <functional>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "index/safetensors_file.h"

namespace dime {

// Fills every parameter and running statistic of `module` from a safetensors file, converting other
// float types to float32. INVALID_ARGUMENT naming the file and every missing, unexpected or wrongly
// shaped tensor. Tensors for which `ignore` is true may be there and are left alone.
absl::Status LoadWeights(const SafetensorsFile& file, torch::nn::Module& module,
                         const std::function<bool(absl::string_view)>& ignore);

// Writes the same, float32, with free text fields as SafetensorsFile::metadata() gives them.
absl::Status SaveWeights(const torch::nn::Module& module, const std::string& path,
                         const std::map<std::string, std::string>& metadata = {});

}  // namespace dime

#endif  // DIME_MODEL_DIME_WEIGHTS_H_
