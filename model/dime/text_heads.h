#ifndef DIME_MODEL_DIME_TEXT_HEADS_H_
#define DIME_MODEL_DIME_TEXT_HEADS_H_

#include <torch/torch.h>

namespace dime {

// What DIME makes of BERT's states: a vector for each word from windows of one, two and three
// positions, and one for the sentence (dime-model.md, 1). All L positions take part, padding
// included: that is how the checkpoints were trained. Thread-safe in evaluation mode.
class TextHeadsImpl : public torch::nn::Module {
 public:
  struct Output {
    torch::Tensor words;     // (B, L, E), unit rows
    torch::Tensor sentence;  // (B, E), unit rows
  };

  TextHeadsImpl(int hidden_size, int embed_size);
  Output forward(const torch::Tensor& states);  // X (B, L, H)

 private:
  torch::nn::Linear fc_{nullptr};          // H -> E
  torch::nn::ModuleList convs1_{nullptr};  // kernels of 1, 2, 3 positions over the whole width H
  torch::nn::Linear mapping_{nullptr};     // 3 E -> E
};
TORCH_MODULE(TextHeads);

}  // namespace dime

#endif  // DIME_MODEL_DIME_TEXT_HEADS_H_
