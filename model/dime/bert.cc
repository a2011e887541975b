#include "model/dime/bert.h"

#include <string>
#include <utility>

#include "model/dime/fast_linear.h"
#include "model/dime/fused_bert.h"

namespace dime {
namespace {

namespace nn = torch::nn;

nn::LayerNorm MakeLayerNorm(const BertConfig& config) {
  return nn::LayerNorm(nn::LayerNormOptions({config.hidden_size}).eps(config.layer_norm_eps));
}

// Dense, dropout, residual, LayerNorm: the end of both halves of a layer.
struct ResidualOutputImpl : nn::Module {
  ResidualOutputImpl(int input_size, const BertConfig& config)
      : dense(register_module("dense", nn::Linear(input_size, config.hidden_size))),
        layer_norm(register_module("LayerNorm", MakeLayerNorm(config))),
        dropout(config.hidden_dropout) {}
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& residual) {
    return layer_norm->forward(residual +
                               torch::dropout(FastLinear(dense, x), dropout, is_training()));
  }
  nn::Linear dense;
  nn::LayerNorm layer_norm;
  const double dropout;
};
TORCH_MODULE(ResidualOutput);

struct BertSelfAttentionImpl : nn::Module {
  explicit BertSelfAttentionImpl(const BertConfig& config)
      : query(register_module("query", nn::Linear(config.hidden_size, config.hidden_size))),
        key(register_module("key", nn::Linear(config.hidden_size, config.hidden_size))),
        value(register_module("value", nn::Linear(config.hidden_size, config.hidden_size))),
        num_heads(config.num_heads),
        dropout(config.attention_dropout) {}
  // `mask` (B, 1, 1, L), added to the scores.
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& mask) {
    const int64_t head_size = x.size(-1) / num_heads;
    const auto split = [&](nn::Linear& linear) {  // (B, L, H) -> (B, heads, L, H / heads)
      return FastLinear(linear, x).unflatten(-1, {num_heads, head_size}).transpose(1, 2);
    };
    return at::scaled_dot_product_attention(split(query), split(key), split(value), mask,
                                            is_training() ? dropout : 0.0)
        .transpose(1, 2)
        .flatten(-2);
  }
  nn::Linear query, key, value;
  const int num_heads;
  const double dropout;
};
TORCH_MODULE(BertSelfAttention);

struct AttentionImpl : nn::Module {
  explicit AttentionImpl(const BertConfig& config)
      : self(register_module("self", BertSelfAttention(config))),
        output(register_module("output", ResidualOutput(config.hidden_size, config))) {}
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& mask) {
    return output->forward(self->forward(x, mask), x);
  }
  BertSelfAttention self;
  ResidualOutput output;
};
TORCH_MODULE(Attention);

struct IntermediateImpl : nn::Module {
  explicit IntermediateImpl(const BertConfig& config)
      : dense(register_module("dense", nn::Linear(config.hidden_size, config.intermediate_size))) {}
  torch::Tensor forward(const torch::Tensor& x) { return torch::gelu(FastLinear(dense, x)); }
  nn::Linear dense;
};
TORCH_MODULE(Intermediate);

struct LayerImpl : nn::Module {
  explicit LayerImpl(const BertConfig& config)
      : attention(register_module("attention", Attention(config))),
        intermediate(register_module("intermediate", Intermediate(config))),
        output(register_module("output", ResidualOutput(config.intermediate_size, config))) {}
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& mask) {
    const torch::Tensor attended = attention->forward(x, mask);
    return output->forward(intermediate->forward(attended), attended);
  }
  Attention attention;
  Intermediate intermediate;
  ResidualOutput output;
};
TORCH_MODULE(Layer);

}  // namespace

class BertEmbeddingsImpl : public nn::Module {
 public:
  explicit BertEmbeddingsImpl(const BertConfig& config)
      : words(register_module("word_embeddings",
                              nn::Embedding(config.vocab_size, config.hidden_size))),
        positions(register_module("position_embeddings",
                                  nn::Embedding(config.max_positions, config.hidden_size))),
        types(register_module("token_type_embeddings",
                              nn::Embedding(config.type_vocab_size, config.hidden_size))),
        layer_norm(register_module("LayerNorm", MakeLayerNorm(config))),
        dropout(config.hidden_dropout) {}
  torch::Tensor forward(const torch::Tensor& ids) {
    const torch::Tensor position =
        torch::arange(ids.size(1), torch::TensorOptions().device(ids.device()).dtype(torch::kLong));
    // All tokens are of type 0.
    const torch::Tensor x = words->forward(ids) + types->weight[0] + positions->forward(position);
    return torch::dropout(layer_norm->forward(x), dropout, is_training());
  }
  nn::Embedding words, positions, types;
  nn::LayerNorm layer_norm;
  const double dropout;
};

BertImpl::BertImpl(const BertConfig& config) : config_(config) {
  embeddings_ = register_module("embeddings", std::make_shared<BertEmbeddingsImpl>(config));
  layers_ = nn::ModuleList();
  for (int i = 0; i < config.num_layers; ++i) layers_->push_back(Layer(config));
  // "encoder.layer.N" is a level deeper than this class needs, but the checkpoints' name.
  auto encoder = std::make_shared<nn::ModuleDictImpl>();
  encoder->register_module("layer", layers_);
  register_module("encoder", encoder);
}

torch::Tensor BertImpl::forward(const torch::Tensor& ids, const torch::Tensor& lengths) {
  torch::Tensor x = embeddings_->forward(ids);
  if (fused_ != nullptr) return fused_->forward(x, lengths);
  const torch::Tensor position = torch::arange(ids.size(1), lengths.options());
  const torch::Tensor padded = position.unsqueeze(0) >= lengths.unsqueeze(1);  // (B, L)
  const torch::Tensor mask = (padded.to(x.dtype()) * -10000.0).unsqueeze(1).unsqueeze(1);
  for (const auto& layer : *layers_) x = layer->as<LayerImpl>()->forward(x, mask);
  return x;
}

void BertImpl::UseKernels(kernels::Instructions instructions, std::shared_ptr<ThreadTeam> team) {
  TORCH_CHECK(!is_training(), "BERT is being trained");
  fused_ = std::make_shared<FusedBert>(config_, *layers_, instructions, std::move(team));
  for (torch::Tensor& parameter : layers_->parameters()) parameter.set_data(torch::empty({0}));
}

}  // namespace dime
