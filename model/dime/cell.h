#ifndef DIME_MODEL_DIME_CELL_H_
#define DIME_MODEL_DIME_CELL_H_

#include <torch/torch.h>

#include <string>

#include "model/dime/router.h"

namespace dime {

// Sizes and options that the cells of one direction share (config.json's names in brackets).
struct InteractionOptions {
  int embed_size = 256;                             // E [embed_size]
  int num_heads = 16;                               // [num_head_IMRC]; divides E
  int feed_forward_size = 512;                      // [hid_IMRC]
  int router_size = 512;                            // [hid_router]
  std::string raw_feature_norm = "clipped_l2norm";  // [raw_feature_norm_CMRC]
  double lambda_softmax = 4.0;                      // [lambda_softmax_CMRC]
};

// What the other modality contributes to a cell. Leading dimensions broadcast against those of the
// local sequence, so one call serves pairs (P, ...), one query against many (1, ...), and all pairs
// of a batch, (I, 1, ...) against (1, T, ...).
struct CrossModalInput {
  torch::Tensor guide;         // (..., E): `sentence` for i-t, `image` for t-i
  torch::Tensor context;       // (..., C, E): words for i-t, regions for t-i
  torch::Tensor context_mask;  // (..., C) bool, true where valid; undefined = all valid
};

// One of DIME's four kinds of cells with its router. A cell maps a local sequence Z (..., M, E) and
// the other modality to a sequence of the same shape (dime-model.md, 3).
// Not thread-safe while training; forward() in evaluation mode is.
class CellImpl : public torch::nn::Module {
 public:
  CellImpl(const InteractionOptions& options, int num_paths)
      : router_(register_module("router",
                                Router(options.embed_size, options.router_size, num_paths))) {}

  virtual torch::Tensor forward(const torch::Tensor& local, const CrossModalInput& other) = 0;
  // (..., num_paths): how far the paths from this cell on are open.
  torch::Tensor Gate(const torch::Tensor& local) { return router_->forward(local); }

 private:
  Router router_;
};

}  // namespace dime

#endif  // DIME_MODEL_DIME_CELL_H_
