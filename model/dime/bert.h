#ifndef DIME_MODEL_DIME_BERT_H_
#define DIME_MODEL_DIME_BERT_H_

#include <torch/torch.h>

#include <memory>

#include "model/dime/model_config.h"

namespace dime {

class BertEmbeddingsImpl;

// BERT's encoder (dime-model.md, 1): embeddings and post-norm transformer layers, last layer's
// states, no pooler. Submodules and parameters carry HuggingFace's names, so that a checkpoint's
// names are this module's own. Thread-safe in evaluation mode.
class BertImpl : public torch::nn::Module {
 public:
  explicit BertImpl(const BertConfig& config);

  // `ids` (B, L) int64, `lengths` (B) int64: tokens before the padding. Returns X (B, L, H), all
  // positions; padding is hidden from attention only.
  torch::Tensor forward(const torch::Tensor& ids, const torch::Tensor& lengths);

 private:
  const BertConfig config_;
  std::shared_ptr<BertEmbeddingsImpl> embeddings_;
  torch::nn::ModuleList layers_{nullptr};
};
TORCH_MODULE(Bert);

}  // namespace dime

#endif  // DIME_MODEL_DIME_BERT_H_
