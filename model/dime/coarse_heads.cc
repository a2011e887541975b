#include "model/dime/coarse_heads.h"

#include <map>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "index/safetensors_file.h"
#include "index/status_macros.h"
#include "model/dime/weights.h"

namespace dime {
namespace {

constexpr char kFormat[] = "dime-coarse-heads";
constexpr int kFormatVersion = 1;
constexpr int kLargestSize = 65536;

// A size that the metadata holds as text.
struct SizeField {
  const char* name;
  int CoarseHeadsConfig::*value;
};
constexpr SizeField kSizeFields[] = {{"coarse_dim", &CoarseHeadsConfig::coarse_dim},
                                     {"hidden_size", &CoarseHeadsConfig::hidden_size},
                                     {"num_queries", &CoarseHeadsConfig::num_queries},
                                     {"feature_dim", &CoarseHeadsConfig::feature_dim},
                                     {"bert_size", &CoarseHeadsConfig::bert_size}};

absl::StatusOr<CoarseHeadsConfig> ReadConfig(const SafetensorsFile& file) {
  const std::map<std::string, std::string>& metadata = file.metadata();
  const auto find = [&](const char* name) {
    const auto found = metadata.find(name);
    return found == metadata.end() ? std::string() : found->second;
  };
  std::vector<std::string> problems;
  if (find("format") != kFormat) {
    problems.push_back(absl::StrCat("format must be \"", kFormat, "\""));
  } else if (find("format_version") != absl::StrCat(kFormatVersion)) {
    problems.push_back(absl::StrCat("format_version must be ", kFormatVersion));
  }
  CoarseHeadsConfig config;
  for (const SizeField& field : kSizeFields) {
    int& value = config.*field.value;
    if (!absl::SimpleAtoi(find(field.name), &value) || value < 1 || value > kLargestSize) {
      problems.push_back(absl::StrCat(field.name, " must be an integer from 1 to ", kLargestSize));
    }
  }
  config.bert = find("bert");
  if (config.bert.empty()) problems.push_back("bert is missing");
  if (problems.empty()) return config;
  return absl::InvalidArgumentError(absl::StrCat(file.path(),
                                                 ": metadata: ", absl::StrJoin(problems, "; "),
                                                 "; make the file with dime_train_coarse"));
}

}  // namespace

CoarseHeadsImpl::CoarseHeadsImpl(const CoarseHeadsConfig& config) : config_(config) {
  const auto head = [&](int input_size) {
    return PoolingHead(PoolingHeadImpl::Options{.input_size = input_size,
                                                .hidden_size = config.hidden_size,
                                                .num_queries = config.num_queries,
                                                .output_size = config.coarse_dim});
  };
  image = register_module("image", head(config.feature_dim));
  caption = register_module("caption", head(config.bert_size));
}

torch::Tensor CoarseHeadsImpl::Images(const torch::Tensor& features) {
  return image->forward(features);
}

torch::Tensor CoarseHeadsImpl::Captions(const torch::Tensor& states, const torch::Tensor& lengths) {
  return caption->forward(
      states, torch::arange(states.size(1), lengths.options()).unsqueeze(0) < lengths.unsqueeze(1));
}

absl::StatusOr<CoarseHeads> LoadCoarseHeads(const std::string& path) {
  ASSIGN_OR_RETURN(const auto file, SafetensorsFile::Open(path));
  ASSIGN_OR_RETURN(const CoarseHeadsConfig config, ReadConfig(*file));
  // Before modules are made, whose memory would follow the metadata alone.
  const int64_t pooled = int64_t{config.num_queries + 2} * config.hidden_size;
  const std::pair<std::string, std::vector<int64_t>> large[] = {
      {"image.position.weight", {config.hidden_size, config.feature_dim}},
      {"image.inner.weight", {2 * config.coarse_dim, pooled}},
      {"image.outer.weight", {config.coarse_dim, 2 * config.coarse_dim}},
      {"caption.position.weight", {config.hidden_size, config.bert_size}}};
  for (const auto& [name, shape] : large) {
    const TensorView* weight = file->Find(name);
    if (weight == nullptr || weight->shape != shape) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": ", name, " must be there with the shape [",
                       absl::StrJoin(shape, ", "), "] that the metadata tells of"));
    }
  }
  CoarseHeads heads(config);
  RETURN_IF_ERROR(LoadWeights(*file, *heads, [](absl::string_view) { return false; }));
  heads->eval();
  for (torch::Tensor& parameter : heads->parameters()) parameter.set_requires_grad(false);
  return heads;
}

absl::Status SaveCoarseHeads(CoarseHeadsImpl& heads, const std::string& path) {
  std::map<std::string, std::string> metadata = {{"format", kFormat},
                                                 {"format_version", absl::StrCat(kFormatVersion)},
                                                 {"bert", heads.config().bert}};
  for (const SizeField& field : kSizeFields) {
    metadata[field.name] = absl::StrCat(heads.config().*field.value);
  }
  return SaveWeights(heads, path, metadata);
}

}  // namespace dime
