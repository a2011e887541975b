#include "model/dime/network.h"

#include <filesystem>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "index/safetensors_file.h"
#include "index/status_macros.h"
#include "model/dime/weights.h"
#include "model/fingerprint.h"

namespace dime {
namespace {

// "config.json", or the name that original BERT directories use.
std::string BertConfigName(const std::string& directory) {
  return std::filesystem::exists(directory + "/config.json") ? "config.json" : "bert_config.json";
}

// Parts of published BERT files that play no role here.
bool IsUnusedBertTensor(absl::string_view name) {
  return absl::StrContains(name, "pooler.") || absl::StartsWith(name, "cls.") ||
         absl::EndsWith(name, "position_ids");
}

}  // namespace

absl::StatusOr<TextBackbone> TextBackbone::Load(
    const std::string& directory, const WordPieceTokenizer::Options& tokenizer_options,
    torch::Device device) {
  ASSIGN_OR_RETURN(const BertConfig config,
                   BertConfig::Load(absl::StrCat(directory, "/", BertConfigName(directory))));
  TextBackbone backbone;
  ASSIGN_OR_RETURN(backbone.tokenizer,
                   WordPieceTokenizer::Load(directory + "/vocab.txt", tokenizer_options));
  if (backbone.tokenizer->vocab_size() > config.vocab_size) {
    return absl::InvalidArgumentError(absl::StrCat(
        directory, "/vocab.txt has ", backbone.tokenizer->vocab_size(),
        " pieces, but the model embeds ", config.vocab_size, "; they do not belong together"));
  }
  ASSIGN_OR_RETURN(const auto file, SafetensorsFile::Open(directory + "/model.safetensors"));
  backbone.bert = Bert(config);
  backbone.hidden_size = config.hidden_size;
  RETURN_IF_ERROR(LoadWeights(*file, *backbone.bert, IsUnusedBertTensor));
  backbone.bert->eval();
  for (torch::Tensor& parameter : backbone.bert->parameters()) parameter.set_requires_grad(false);
  backbone.bert->to(device);
  return backbone;
}

absl::StatusOr<TokenBatch> TokenBatch::Make(const WordPieceTokenizer& tokenizer,
                                            absl::Span<const std::string> captions, int max_words) {
  const int64_t count = static_cast<int64_t>(captions.size());
  TokenBatch batch{.ids = torch::zeros({count, max_words}, torch::kLong),
                   .lengths = torch::zeros({count}, torch::kLong)};
  auto ids = batch.ids.accessor<int64_t, 2>();
  auto lengths = batch.lengths.accessor<int64_t, 1>();
  for (int64_t i = 0; i < count; ++i) {
    absl::StatusOr<WordPieceTokenizer::Encoding> encoding =
        tokenizer.Encode(captions[i], max_words);
    if (!encoding.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("caption ", i, ": ", encoding.status().message()));
    }
    for (int t = 0; t < max_words; ++t) ids[i][t] = encoding->ids[t];
    lengths[i] = encoding->length;
  }
  return batch;
}

absl::StatusOr<std::unique_ptr<Network>> Network::Load(const std::string& directory,
                                                       torch::Device device,
                                                       const LoadOptions& options) {
  if (!std::filesystem::is_directory(directory)) {
    return absl::NotFoundError(absl::StrCat("there is no model directory ", directory));
  }
  ASSIGN_OR_RETURN(ModelConfig config, ModelConfig::Load(directory + "/config.json"));
  std::unique_ptr<Network> network(new Network(std::move(config), device));
  std::vector<std::string> files = {"config.json"};
  std::set<std::string> seen;
  for (Direction direction : kDirections) {
    const std::optional<DirectionConfig>& part = network->config_.of(direction);
    if (!part.has_value()) continue;
    if (seen.insert(part->bert).second) {
      const std::string bert_directory = absl::StrCat(directory, "/", part->bert);
      if (!std::filesystem::is_directory(bert_directory)) {
        return absl::NotFoundError(absl::StrCat(
            "there is no BERT directory ", bert_directory,
            "; put config.json, model.safetensors and vocab.txt there, or a link to them"));
      }
      ASSIGN_OR_RETURN(network->backbones_[part->bert],
                       TextBackbone::Load(bert_directory, network->config_.tokenizer, device));
      for (const std::string& name : {BertConfigName(bert_directory),
                                      std::string("model.safetensors"), std::string("vocab.txt")}) {
        files.push_back(absl::StrCat(part->bert, "/", name));
      }
    }
    const TextBackbone& backbone = network->backbones_.at(part->bert);
    ASSIGN_OR_RETURN(const auto file,
                     SafetensorsFile::Open(absl::StrCat(directory, "/", part->weights)));
    auto model = std::make_shared<DirectionModelImpl>(direction, *part, backbone.hidden_size);
    RETURN_IF_ERROR(LoadWeights(*file, *model, [](absl::string_view name) {
      return absl::EndsWith(name, "num_batches_tracked");
    }));
    model->eval();
    for (torch::Tensor& parameter : model->parameters()) parameter.set_requires_grad(false);
    model->to(device);
    network->models_[static_cast<int>(direction)] = std::move(model);
    files.push_back(part->weights);
  }
  const std::string heads = absl::StrCat(directory, "/", kCoarseHeadsName);
  if (options.coarse_heads && std::filesystem::exists(heads)) {
    RETURN_IF_ERROR(network->LoadHeads(heads));
    files.push_back(kCoarseHeadsName);
  }
  ASSIGN_OR_RETURN(network->fingerprint_, FingerprintFiles(directory, files));
  return network;
}

absl::Status Network::LoadHeads(const std::string& path) {
  ASSIGN_OR_RETURN(CoarseHeads heads, LoadCoarseHeads(path));
  const CoarseHeadsConfig& config = heads->config();
  const auto misfit = [&](const auto&... what) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " does not fit the model: ", what...,
                     "; make it anew with dime_train_coarse, or remove it"));
  };
  const auto backbone = backbones_.find(config.bert);
  if (backbone == backbones_.end()) {
    return misfit("it takes states of the BERT directory \"", config.bert,
                  "\", which the model does not use");
  }
  if (config.bert_size != backbone->second.hidden_size) {
    return misfit("caption.position.weight takes BERT states ", config.bert_size,
                  " wide, those of ", config.bert, " are ", backbone->second.hidden_size);
  }
  if (config.feature_dim != feature_dim()) {
    return misfit("image.position.weight takes features ", config.feature_dim,
                  " wide, the model's are ", feature_dim());
  }
  heads->to(device_);
  coarse_heads_ = heads.ptr();
  return absl::OkStatus();
}

ModelInfo Network::Describe() const {
  ModelInfo info{.fingerprint = fingerprint_,
                 .device = device_.str(),
                 .max_words = config_.max_words,
                 .num_regions = config_.num_regions,
                 .feature_dim = feature_dim()};
  for (Direction direction : kDirections) {
    const std::optional<DirectionConfig>& part = config_.of(direction);
    if (!part.has_value()) continue;
    info.directions[static_cast<int>(direction)] = {
        .embed_size = part->embed_size,
        .num_heads = part->num_heads,
        .raw_feature_norm = part->raw_feature_norm,
        .lambda_softmax = static_cast<float>(part->lambda_softmax)};
    info.coarse_dim += part->embed_size;
  }
  if (coarse_heads_ != nullptr) {
    info.coarse_heads = true;
    info.coarse_dim = coarse_heads_->config().coarse_dim;
  }
  return info;
}

int Network::feature_dim() const {
  for (const std::optional<DirectionConfig>& part : config_.directions) {
    if (part.has_value()) return part->feature_dim;
  }
  return 0;
}

}  // namespace dime
