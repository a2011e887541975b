#ifndef DIME_MODEL_MODEL_INFO_H_
#define DIME_MODEL_MODEL_INFO_H_

#include <array>
#include <string>

#include "index/features.h"
#include "model/ranking_settings.h"

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
  std::string name;           // the model directory's last component
  std::string fingerprint;    // SHA-256, hex, of configuration and weights
  std::string device;         // "cpu", "cuda:0"
  std::string scorer;         // what scores pairs: "modules", or the kernels' instructions
  int max_words = 0;          // L, token positions of a caption, [CLS] and [SEP] included
  int num_regions = 0;        // R
  int feature_dim = 0;        // D
  int coarse_dim = 0;         // C, width of the coarse embedding
  bool coarse_heads = false;  // it comes from trained heads, else from the global vectors
  std::array<DirectionInfo, kNumDirections> directions;  // by Direction
  RankingSettings ranking;

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
  // The ensemble where both directions are there, else the one that is; but, if another is left,
  // none whose reranking loses to the coarse order (see RankingSettings).
  ScoreMode DefaultMode() const {
    for (bool any : {false, true}) {
      for (ScoreMode mode : {ScoreMode::kEnsemble, ScoreMode::kI2t, ScoreMode::kT2i}) {
        if (Serves(mode) && (any || !ranking.RerankLoses(mode))) return mode;
      }
    }
    return ScoreMode::kEnsemble;  // not reached: a model has a direction
  }
};

}  // namespace dime

#endif  // DIME_MODEL_MODEL_INFO_H_
