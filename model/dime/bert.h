#ifndef DIME_MODEL_DIME_BERT_H_
#define DIME_MODEL_DIME_BERT_H_

#include <torch/torch.h>

#include <memory>

#include "model/dime/model_config.h"
#include "model/kernels/instructions.h"
#include "model/thread_team.h"

namespace dime {

class BertEmbeddingsImpl;
class FusedBert;

// BERT's encoder (dime-model.md, 1): embeddings and post-norm transformer layers, last layer's
// states, no pooler. Submodules and parameters carry HuggingFace's names, so that a checkpoint's
// names are this module's own. Thread-safe in evaluation mode.
class BertImpl : public torch::nn::Module {
 public:
  explicit BertImpl(const BertConfig& config);

  // `ids` (B, L) int64, `lengths` (B) int64: tokens before the padding. Returns X (B, L, H), all
  // positions; padding is hidden from attention only.
  torch::Tensor forward(const torch::Tensor& ids, const torch::Tensor& lengths);

  // Has the kernels of these instructions, which must be supported, compute the layers from now on
  // (see FusedBert), and gives back what the layers' own weights took: from then on it can neither
  // be trained nor moved. For modules on the CPU in evaluation mode.
  void UseKernels(kernels::Instructions instructions, std::shared_ptr<ThreadTeam> team);

 private:
  const BertConfig config_;
  std::shared_ptr<BertEmbeddingsImpl> embeddings_;
  torch::nn::ModuleList layers_{nullptr};
  std::shared_ptr<FusedBert> fused_;  // computes the layers, if it is there
};
TORCH_MODULE(Bert);

}  // namespace dime

#endif  // DIME_MODEL_DIME_BERT_H_
