#ifndef DIME_MODEL_DIME_DIRECTION_MODEL_H_
#define DIME_MODEL_DIME_DIRECTION_MODEL_H_

#include <torch/torch.h>

#include "model/dime/image_heads.h"
#include "model/dime/interaction.h"
#include "model/dime/model_config.h"
#include "model/dime/text_heads.h"

namespace dime {

// One of DIME's two models without its BERT: heads on both sides and the interaction. Parameter
// names are those of a model directory's safetensors file.
// Thread-safe in evaluation mode.
class DirectionModelImpl : public torch::nn::Module {
 public:
  // `bert_size`: H, the width of the BERT states that `text` takes.
  DirectionModelImpl(Direction direction, const DirectionConfig& config, int bert_size);

  Direction direction() const { return direction_; }
  const DirectionConfig& config() const { return config_; }

  // Scores of pairs whose leading dimensions broadcast: (..., R, E), (..., E), (..., L, E), (...,
  // E),
  // (..., L) bool. The direction decides which side is refined by which. `attention`, where given:
  // see InteractionImpl; (..., R, L) for i-t, (..., L, R) for t-i.
  InteractionImpl::Output Score(const torch::Tensor& regions, const torch::Tensor& image_vector,
                                const torch::Tensor& words, const torch::Tensor& sentence,
                                const torch::Tensor& word_mask,
                                InteractionImpl::Attention* attention = nullptr);

  ImageHeads image{nullptr};
  TextHeads text{nullptr};
  Interaction interaction{nullptr};

 private:
  const Direction direction_;
  const DirectionConfig config_;
};
TORCH_MODULE(DirectionModel);

}  // namespace dime

#endif  // DIME_MODEL_DIME_DIRECTION_MODEL_H_
