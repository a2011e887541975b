#ifndef DIME_MODEL_MODEL_INFO_H_
#define DIME_MODEL_MODEL_INFO_H_

#include <array>
#include <string>

#include "index/features.h"

namespace dime {

// Routing: three layers of the four cells; every cell of layers 0 and 1 has a path to each cell of
// the next layer, layer 2's cells have one to the output.
inline constexpr int kNumCells = 4;
inline constexpr int kNumRoutingLayers = 3;
// [p of layer 0 (16), p of layer 1 (16), q of layer 2 (4)], index `path * 4 + cell` within a layer.
inline constexpr int kNumPathWeights = 36;

// Facts about one direction of a model; embed_size 0 = the model lacks it.
struct DirectionInfo {
  int embed_size = 0;  // E
  int num_heads = 0;   // of the intra-modal reasoning cell
  std::string raw_feature_norm;
  float lambda_softmax = 0;
};

// Facts about a loaded model that do not change.
struct ModelInfo {
  std::string name;         // the model directory's last component
  std::string fingerprint;  // SHA-256, hex, of configuration and weights
  std::string device;       // "cpu", "cuda:0"
  int max_words = 0;        // L, token positions of a caption, [CLS] and [SEP] included
  int num_regions = 0;      // R
  int feature_dim = 0;      // D
  int coarse_dim = 0;       // C, width of the coarse embedding
  std::array<DirectionInfo, kNumDirections> directions;  // by Direction

  bool Has(Direction direction) const {
    return directions[static_cast<int>(direction)].embed_size > 0;
  }
  // Whether the model can give scores of this mode.
  bool Serves(ScoreMode mode) const {
    for (Direction direction : kDirections) {
      if (Uses(mode, direction) && !Has(direction)) return false;
    }
    return true;
  }
  // The ensemble where both directions are there, else the one that is.
  ScoreMode DefaultMode() const {
    if (Serves(ScoreMode::kEnsemble)) return ScoreMode::kEnsemble;
    return Has(Direction::kI2t) ? ScoreMode::kI2t : ScoreMode::kT2i;
  }
};

}  // namespace dime

#endif  // DIME_MODEL_MODEL_INFO_H_
