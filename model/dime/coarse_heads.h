#ifndef DIME_MODEL_DIME_COARSE_HEADS_H_
#define DIME_MODEL_DIME_COARSE_HEADS_H_

#include <torch/torch.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/dime/pooling_head.h"

namespace dime {

// The file of a model directory that holds its coarse heads, if it has any.
inline constexpr char kCoarseHeadsName[] = "coarse.safetensors";

// Sizes of a pair of coarse heads; kept in the metadata of their file.
struct CoarseHeadsConfig {
  int coarse_dim = 256;   // C
  int hidden_size = 256;  // W, see PoolingHead
  int num_queries = 8;    // K
  int feature_dim = 0;    // D, of the region features
  int bert_size = 0;      // H, of the BERT states
  std::string bert =
      "bert";  // the BERT directory, of the model's, whose states the captions' is of
};

// The first stage's embedding of images and captions, trained to find neighbours, which DIME's own
// global vectors are not: one pooling head over an image's region features, one over the states of
// the frozen BERT for a caption. Neither uses the layers of a direction, so that retraining these
// leaves the heads fitting, and one pair of heads serves a model of one direction or two.
// Parameter names are those of coarse.safetensors. Thread-safe in evaluation mode.
class CoarseHeadsImpl : public torch::nn::Module {
 public:
  explicit CoarseHeadsImpl(const CoarseHeadsConfig& config);

  const CoarseHeadsConfig& config() const { return config_; }
  torch::Tensor Images(const torch::Tensor& features);  // (B, R, D) -> (B, C), unit rows
  // `states` (B, L, H), `lengths` (B) int64, at least 1: positions beyond play no part.
  // -> (B, C), unit rows
  torch::Tensor Captions(const torch::Tensor& states, const torch::Tensor& lengths);

  PoolingHead image{nullptr};
  PoolingHead caption{nullptr};

 private:
  const CoarseHeadsConfig config_;
};
TORCH_MODULE(CoarseHeads);

// Reads heads on the CPU, in evaluation mode, without gradients. INVALID_ARGUMENT naming the file
// and the field, or every missing, unexpected or wrongly shaped tensor.
absl::StatusOr<CoarseHeads> LoadCoarseHeads(const std::string& path);

// Replaces the file at once.
absl::Status SaveCoarseHeads(CoarseHeadsImpl& heads, const std::string& path);

}  // namespace dime

#endif  // DIME_MODEL_DIME_COARSE_HEADS_H_
