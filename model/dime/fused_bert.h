#ifndef DIME_MODEL_DIME_FUSED_BERT_H_
#define DIME_MODEL_DIME_FUSED_BERT_H_

#include <torch/torch.h>

#include <memory>

#include "model/dime/model_config.h"
#include "model/idle_pool.h"
#include "model/kernels/transformer_kernel.h"
#include "model/thread_team.h"

namespace dime {

// BERT's layers by kernels::TransformerKernel, on the threads of a team: what BertImpl's modules
// give after the embeddings, to the kernel's rounding, in a fraction of their time. Captions are
// shared out, and where there are fewer than threads, their positions. A caption's states are the
// same bits whatever else is in the call. Thread-safe.
class FusedBert {
 public:
  // `layers`: those of a BertImpl, on the CPU, whose weights are copied. `instructions` must be
  // supported. Throws c10::Error if a parameter is missing, which is a programmer's error.
  FusedBert(const BertConfig& config, const torch::nn::Module& layers,
            kernels::Instructions instructions, std::shared_ptr<ThreadTeam> team);

  // `embedded` (B, L, H) float32 on the CPU, `lengths` (B) int64, 1 to L each. Returns (B, L, H).
  torch::Tensor forward(const torch::Tensor& embedded, const torch::Tensor& lengths);

 private:
  using Kernel = kernels::TransformerKernel;
  void WholeCaptions(const Kernel::Batch& batch, int64_t captions, float* projected);
  void SharedCaptions(const Kernel::Batch& batch, int64_t rows, float* projected,
                      float* projected_next);
  IdlePool<Kernel::Workspace>::Lease TakeWorkspace();

  const int num_layers_;
  const int hidden_size_;
  const std::shared_ptr<ThreadTeam> team_;
  std::unique_ptr<const Kernel> kernel_;
  IdlePool<Kernel::Workspace> workspaces_;
};

}  // namespace dime

#endif  // DIME_MODEL_DIME_FUSED_BERT_H_
