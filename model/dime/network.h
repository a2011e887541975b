#ifndef DIME_MODEL_DIME_NETWORK_H_
#define DIME_MODEL_DIME_NETWORK_H_

#include <torch/torch.h>

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/dime/bert.h"
#include "model/dime/coarse_heads.h"
#include "model/dime/direction_model.h"
#include "model/dime/model_config.h"
#include "model/model_info.h"
#include "model/wordpiece_tokenizer.h"

namespace dime {

// A BERT directory: the frozen encoder and the vocabulary it was trained with.
struct TextBackbone {
  std::unique_ptr<WordPieceTokenizer> tokenizer;
  Bert bert{nullptr};
  int hidden_size = 0;  // H

  // `directory` in HuggingFace's layout: config.json (or bert_config.json), model.safetensors with
  // or without the prefix "bert.", vocab.txt.
  static absl::StatusOr<TextBackbone> Load(const std::string& directory,
                                           const WordPieceTokenizer::Options& tokenizer_options,
                                           torch::Device device);
};

// Captions as BERT takes them.
struct TokenBatch {
  torch::Tensor ids;      // (B, L) int64
  torch::Tensor lengths;  // (B) int64

  // On the CPU. INVALID_ARGUMENT naming a caption that is not valid UTF-8.
  static absl::StatusOr<TokenBatch> Make(const WordPieceTokenizer& tokenizer,
                                         absl::Span<const std::string> captions, int max_words);
};

// All that a model directory holds, as modules on one device, in evaluation mode. The two
// directions share a backbone where the directory says so. Thread-safe while nobody trains it.
class Network {
 public:
  struct LoadOptions {
    bool coarse_heads = true;  // false: as if the directory had none, whatever state they are in
  };
  // Errors as DimeModel::Load.
  static absl::StatusOr<std::unique_ptr<Network>> Load(const std::string& directory,
                                                       torch::Device device,
                                                       const LoadOptions& options);
  static absl::StatusOr<std::unique_ptr<Network>> Load(const std::string& directory,
                                                       torch::Device device) {
    return Load(directory, device, LoadOptions());
  }

  const ModelConfig& config() const { return config_; }
  torch::Device device() const { return device_; }
  bool Has(Direction direction) const { return config_.of(direction).has_value(); }
  // The direction must be there.
  DirectionModelImpl& direction(Direction direction) const {
    return *models_[static_cast<int>(direction)];
  }
  const TextBackbone& backbone(Direction direction) const {
    return backbones_.at(config_.of(direction)->bert);
  }
  // The first stage's heads; null if the model has none.
  CoarseHeadsImpl* coarse_heads() const { return coarse_heads_.get(); }
  // The BERT whose states they take; they must be there.
  const TextBackbone& coarse_backbone() const {
    return backbones_.at(coarse_heads_->config().bert);
  }
  // What ModelInfo says of it: sizes, fingerprint, device; neither name nor scorer nor ranking.
  ModelInfo Describe() const;
  // D, of whichever direction is there.
  int feature_dim() const;
  // SHA-256 over configuration, weights, backbones and, where they are, coarse heads.
  const std::string& fingerprint() const { return fingerprint_; }

 private:
  Network(ModelConfig config, torch::Device device) : config_(std::move(config)), device_(device) {}

  absl::Status LoadHeads(const std::string& path);

  const ModelConfig config_;
  const torch::Device device_;
  std::map<std::string, TextBackbone> backbones_;  // by directory name
  std::array<std::shared_ptr<DirectionModelImpl>, kNumDirections> models_;
  std::shared_ptr<CoarseHeadsImpl> coarse_heads_;
  std::string fingerprint_;
};

}  // namespace dime

#endif  // DIME_MODEL_DIME_NETWORK_H_
