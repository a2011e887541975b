#ifndef DIME_CLIENT_PAIR_ATTENTION_H_
#define DIME_CLIENT_PAIR_ATTENTION_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "dime/v1/retrieval.pb.h"

namespace dime {

// Regions that are shown of a word, in drawings and beside its line of heat.
inline constexpr int kRegionsOfAWord = 2;

// Who attended to whom in one direction of an ExplainPairResponse, made ready to be shown: the
// attention of each layer, and that of the layers together, each counted by how much of its
// cross-modal cell's output flowed on. A value type.
struct PairAttention {
  struct Layer {
    int layer = 0;
    float weight = 0;              // CellAttention.weight; 0 = nothing of the cell flowed on
    std::vector<float> attention;  // (words, regions) row-major
  };
  // A word and a region, and the share of the attending side's attention that links them.
  struct Link {
    int word = 0;
    int region = 0;
    float share = 0;
  };

  v1::ScoreMode direction = v1::SCORE_MODE_UNSPECIFIED;
  float score = 0;
  int num_words = 0;
  int num_regions = 0;
  std::vector<bool> special;  // (words): [CLS] and [SEP], which stand for no word of the caption
  std::vector<Layer> layers;
  // (words, regions): the mean of the layers by their weights; zeros where all the weights are
  // zero.
  std::vector<float> overall;

  // Regions attend to words (i-t); else words attend to regions (t-i).
  bool RegionsAttend() const { return direction == v1::SCORE_MODE_I2T; }
  // Whether anything that was attended to took part in the score.
  bool TookPart() const;
  // The share of one that everything would get of an attention spread evenly.
  float EvenShare() const;

  // The functions below take one of the (words, regions) tables above.

  // How much of the regions' attention the special tokens take together; 0 where words attend, who
  // do not share theirs out among tokens.
  float SpecialShare(absl::Span<const float> attention) const;
  // Whether the special tokens take most of it, so that to leave them out would mislead.
  bool SpecialTokensLead(absl::Span<const float> attention) const {
    return SpecialShare(attention) > 0.5f;
  }
  // The strongest links, at most `count`, strongest first. Special tokens are left out unless they
  // lead.
  std::vector<Link> StrongestLinks(absl::Span<const float> attention, int count) const;
  // The strongest links of one word, as above.
  std::vector<Link> LinksOf(absl::Span<const float> attention, int word, int count) const;

  // One for each direction of the response, in its order. INTERNAL if its parts do not fit
  // together.
  static absl::StatusOr<std::vector<PairAttention>> FromResponse(
      const v1::ExplainPairResponse& response);
};

}  // namespace dime

#endif  // DIME_CLIENT_PAIR_ATTENTION_H_
