#include "model/dime/model_config.h"

#include <cmath>
#include <fstream>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "index/status_macros.h"
#include "model/dime/cross_modal_refinement_cell.h"
#include "nlohmann/json.hpp"

namespace dime {
namespace {

using Json = nlohmann::json;

absl::StatusOr<Json> ReadJsonObject(const std::string& path) {
  std::ifstream stream(path);
  if (!stream) return absl::NotFoundError(absl::StrCat("cannot open ", path));
  Json json = Json::parse(stream, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a JSON object"));
  }
  return json;
}

// Reads typed fields of one JSON object and gathers what is wrong with any of them.
class FieldReader {
 public:
  FieldReader(const Json& object, std::string prefix, std::vector<std::string>* problems)
      : object_(object), prefix_(std::move(prefix)), problems_(problems) {}

  void Int(const char* name, int minimum, int maximum, int* out, bool required = true) {
    const Json* value = Find(name, required);
    if (value == nullptr) return;
    if (!value->is_number_integer() || value->get<int64_t>() < minimum ||
        value->get<int64_t>() > maximum) {
      return Complain(name, absl::StrCat("must be an integer from ", minimum, " to ", maximum));
    }
    *out = value->get<int>();
  }
  void Number(const char* name, double minimum, double maximum, double* out, bool required) {
    const Json* value = Find(name, required);
    if (value == nullptr) return;
    if (!value->is_number() || !(value->get<double>() >= minimum) ||
        !(value->get<double>() <= maximum)) {
      return Complain(name, absl::StrCat("must be a number from ", minimum, " to ", maximum));
    }
    *out = value->get<double>();
  }
  void Bool(const char* name, bool* out) {
    const Json* value = Find(name, /*required=*/false);
    if (value == nullptr) return;
    if (!value->is_boolean()) return Complain(name, "must be true or false");
    *out = value->get<bool>();
  }
  void String(const char* name, std::string* out, bool required) {
    const Json* value = Find(name, required);
    if (value == nullptr) return;
    if (!value->is_string()) return Complain(name, "must be a string");
    *out = value->get<std::string>();
  }
  void Complain(absl::string_view name, absl::string_view what) {
    problems_->push_back(absl::StrCat(prefix_, name, " ", what));
  }

 private:
  const Json* Find(const char* name, bool required) {
    const auto found = object_.find(name);
    if (found != object_.end()) return &*found;
    if (required) Complain(name, "is missing");
    return nullptr;
  }

  const Json& object_;
  const std::string prefix_;
  std::vector<std::string>* const problems_;
};

absl::Status Problems(const std::string& path, const std::vector<std::string>& problems) {
  if (problems.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", absl::StrJoin(problems, "; ")));
}

// A path that stays inside the model directory.
bool IsLocalName(const std::string& name) {
  return !name.empty() && name[0] != '/' && !absl::StrContains(name, "..");
}

DirectionConfig ReadDirection(FieldReader fields) {
  DirectionConfig config;
  fields.String("weights", &config.weights, /*required=*/true);
  if (!config.weights.empty() && !IsLocalName(config.weights)) {
    fields.Complain("weights", "must name a file inside the model directory");
  }
  fields.String("bert", &config.bert, /*required=*/false);
  if (!IsLocalName(config.bert)) {
    fields.Complain("bert", "must name a directory inside the model directory");
  }
  fields.Int("embed_size", 1, 65536, &config.embed_size);
  fields.Int("img_dim", 1, 1 << 20, &config.feature_dim);
  fields.Int("num_head_IMRC", 1, 4096, &config.num_heads);
  if (config.embed_size % config.num_heads != 0) {
    fields.Complain("num_head_IMRC", absl::StrCat("must divide embed_size ", config.embed_size));
  }
  fields.Int("hid_IMRC", 1, 1 << 20, &config.feed_forward_size);
  fields.Int("hid_router", 1, 1 << 20, &config.router_size);
  fields.String("raw_feature_norm_CMRC", &config.raw_feature_norm, /*required=*/false);
  AttentionNorm norm;
  if (!ParseAttentionNorm(config.raw_feature_norm, &norm)) {
    fields.Complain("raw_feature_norm_CMRC",
                    "must be one of clipped_l2norm, l2norm, clipped_l1norm, l1norm, clipped, "
                    "no_norm, softmax");
  }
  fields.Number("lambda_softmax_CMRC", -1e6, 1e6, &config.lambda_softmax, /*required=*/true);
  fields.Bool("no_imgnorm", &config.no_imgnorm);
  fields.Bool("use_abs", &config.use_abs);
  return config;
}

}  // namespace

absl::StatusOr<BertConfig> BertConfig::Load(const std::string& path) {
  ASSIGN_OR_RETURN(const Json json, ReadJsonObject(path));
  std::vector<std::string> problems;
  FieldReader fields(json, "", &problems);
  BertConfig config;
  fields.Int("vocab_size", 1, 1 << 24, &config.vocab_size);
  fields.Int("hidden_size", 1, 65536, &config.hidden_size);
  fields.Int("num_hidden_layers", 1, 512, &config.num_layers);
  fields.Int("num_attention_heads", 1, 1024, &config.num_heads);
  if (config.hidden_size % config.num_heads != 0) {
    fields.Complain("num_attention_heads",
                    absl::StrCat("must divide hidden_size ", config.hidden_size));
  }
  fields.Int("intermediate_size", 1, 1 << 20, &config.intermediate_size);
  fields.Int("max_position_embeddings", 2, 1 << 20, &config.max_positions);
  fields.Int("type_vocab_size", 1, 1024, &config.type_vocab_size, /*required=*/false);
  fields.Number("layer_norm_eps", 0, 1, &config.layer_norm_eps, /*required=*/false);
  fields.Number("hidden_dropout_prob", 0, 1, &config.hidden_dropout, /*required=*/false);
  fields.Number("attention_probs_dropout_prob", 0, 1, &config.attention_dropout,
                /*required=*/false);
  std::string activation = "gelu";
  fields.String("hidden_act", &activation, /*required=*/false);
  if (activation != "gelu") fields.Complain("hidden_act", "must be \"gelu\"");
  RETURN_IF_ERROR(Problems(path, problems));
  return config;
}

absl::StatusOr<ModelConfig> ModelConfig::Load(const std::string& path) {
  ASSIGN_OR_RETURN(const Json json, ReadJsonObject(path));
  std::vector<std::string> problems;
  FieldReader fields(json, "", &problems);
  std::string format;
  int version = 0;
  fields.String("format", &format, /*required=*/true);
  if (format != "dime-model") fields.Complain("format", "must be \"dime-model\"");
  fields.Int("format_version", 1, 1, &version);
  ModelConfig config;
  fields.Int("max_words", 2, 4096, &config.max_words);
  fields.Int("num_regions", 1, 4096, &config.num_regions);
  if (const auto tokenizer = json.find("tokenizer");
      tokenizer != json.end() && tokenizer->is_object()) {
    FieldReader tokenizer_fields(*tokenizer, "tokenizer.", &problems);
    tokenizer_fields.Bool("lower_case", &config.tokenizer.lower_case);
    tokenizer_fields.Bool("split_chinese", &config.tokenizer.split_chinese);
  }
  const auto directions = json.find("directions");
  if (directions == json.end() || !directions->is_object() || directions->empty()) {
    fields.Complain("directions", "must be an object with \"i2t\", \"t2i\" or both");
    return Problems(path, problems);
  }
  for (const auto& [name, value] : directions->items()) {
    bool known = false;
    for (Direction direction : kDirections) {
      if (name != DirectionName(direction)) continue;
      known = true;
      if (!value.is_object()) {
        fields.Complain(absl::StrCat("directions.", name), "must be an object");
        continue;
      }
      config.directions[static_cast<int>(direction)] =
          ReadDirection(FieldReader(value, absl::StrCat("directions.", name, "."), &problems));
    }
    if (!known) {
      fields.Complain(absl::StrCat("directions.", name), "is not a direction (i2t, t2i)");
    }
  }
  if (config.directions[0].has_value() && config.directions[1].has_value() &&
      config.directions[0]->feature_dim != config.directions[1]->feature_dim) {
    fields.Complain("directions.t2i.img_dim", "must equal directions.i2t.img_dim");
  }
  RETURN_IF_ERROR(Problems(path, problems));
  return config;
}

absl::Status ModelConfig::Save(const std::string& path) const {
  Json json = {{"format", "dime-model"},
               {"format_version", 1},
               {"max_words", max_words},
               {"num_regions", num_regions},
               {"tokenizer",
                {{"lower_case", tokenizer.lower_case}, {"split_chinese", tokenizer.split_chinese}}},
               {"directions", Json::object()}};
  for (Direction direction : kDirections) {
    const std::optional<DirectionConfig>& config = of(direction);
    if (!config.has_value()) continue;
    json["directions"][std::string(DirectionName(direction))] = {
        {"weights", config->weights},
        {"bert", config->bert},
        {"embed_size", config->embed_size},
        {"img_dim", config->feature_dim},
        {"num_head_IMRC", config->num_heads},
        {"hid_IMRC", config->feed_forward_size},
        {"hid_router", config->router_size},
        {"raw_feature_norm_CMRC", config->raw_feature_norm},
        {"lambda_softmax_CMRC", config->lambda_softmax},
        {"no_imgnorm", config->no_imgnorm},
        {"use_abs", config->use_abs}};
  }
  std::ofstream stream(path);
  stream << json.dump(2) << "\n";
  stream.close();
  if (!stream) return absl::UnavailableError(absl::StrCat("cannot write ", path));
  return absl::OkStatus();
}

}  // namespace dime
