#ifndef DIME_MODEL_PAIR_EXPLAINER_H_
#define DIME_MODEL_PAIR_EXPLAINER_H_

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "index/features.h"
#include "model/model_info.h"

namespace dime {

// Why a pair got its score: what its routers and its cross-modal cells did.
struct PairExplanation {
  struct Layer {
    // (words, regions) row-major: the attention of this layer's cross-modal refinement cell. i-t:
    // each region's column sums to 1; t-i: each word's row does.
    std::vector<float> attention;
    // How much of that cell's output flows on: the mean share over its paths in layers 0 and 1, its
    // gate in layer 2.
    float weight = 0;
  };
  struct Part {
    float score = 0;           // cosine
    std::vector<float> paths;  // (36), see kNumPathWeights
    std::array<Layer, kNumRoutingLayers> layers;
  };
  int num_words = 0;    // the caption's tokens, [CLS] and [SEP] included
  int num_regions = 0;  // R
  std::array<std::optional<Part>, kNumDirections> directions;  // those that the mode uses
};

// Computes a pair's score once more, by the modules, and keeps what is otherwise thrown away. For
// people's questions, not for bulk. Implementations are thread-safe.
class PairExplainer {
 public:
  virtual ~PairExplainer() = default;
  // `image` and `caption`: one item each, encoded by the same model. INVALID_ARGUMENT for shapes
  // that do not fit and for a mode that the model does not serve.
  virtual absl::StatusOr<PairExplanation> Explain(const EncodedItemsView& image,
                                                  const EncodedItemsView& caption,
                                                  ScoreMode mode) const = 0;
  // A caption's word pieces as the model reads it, [CLS] and [SEP] included, cut to max_words.
  // INVALID_ARGUMENT for invalid UTF-8.
  virtual absl::StatusOr<std::vector<std::string>> Words(const std::string& caption) const = 0;
};

}  // namespace dime

#endif  // DIME_MODEL_PAIR_EXPLAINER_H_
