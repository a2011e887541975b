#ifndef DIME_MODEL_DIME_MODEL_CONFIG_H_
#define DIME_MODEL_DIME_MODEL_CONFIG_H_

#include <array>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "index/features.h"
#include "model/wordpiece_tokenizer.h"

namespace dime {

// BERT's sizes, as HuggingFace's config.json (or an original bert_config.json) gives them.
struct BertConfig {
  int vocab_size = 30522;
  int hidden_size = 768;  // H
  int num_layers = 12;
  int num_heads = 12;
  int intermediate_size = 3072;
  int max_positions = 512;
  int type_vocab_size = 2;
  double layer_norm_eps = 1e-12;
  double hidden_dropout = 0.1;
  double attention_dropout = 0.1;

  // INVALID_ARGUMENT naming the file and the field.
  static absl::StatusOr<BertConfig> Load(const std::string& path);
};

// One direction's part of a model directory's config.json.
struct DirectionConfig {
  std::string weights;                              // safetensors file within the model directory
  std::string bert = "bert";                        // BERT directory within the model directory
  int embed_size = 256;                             // E
  int feature_dim = 2048;                           // D [img_dim]
  int num_heads = 16;                               // [num_head_IMRC]
  int feed_forward_size = 512;                      // [hid_IMRC]
  int router_size = 512;                            // [hid_router]
  std::string raw_feature_norm = "clipped_l2norm";  // [raw_feature_norm_CMRC]
  double lambda_softmax = 4.0;                      // [lambda_softmax_CMRC]
  bool no_imgnorm = false;                          // the image vector is not normalised
  bool use_abs = false;                             // the image vector's magnitudes are taken
};

// A model directory's config.json. Both directions share L, R, D and the tokenizer's options.
struct ModelConfig {
  int max_words = 32;    // L
  int num_regions = 36;  // R
  WordPieceTokenizer::Options tokenizer;
  std::array<std::optional<DirectionConfig>, kNumDirections> directions;  // by Direction

  const std::optional<DirectionConfig>& of(Direction direction) const {
    return directions[static_cast<int>(direction)];
  }

  // `path` names the file. INVALID_ARGUMENT listing every field that is missing, of the wrong type
  // or out of range.
  static absl::StatusOr<ModelConfig> Load(const std::string& path);
  absl::Status Save(const std::string& path) const;
};

}  // namespace dime

#endif  // DIME_MODEL_DIME_MODEL_CONFIG_H_
