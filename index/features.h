#ifndef DIME_INDEX_FEATURES_H_
#define DIME_INDEX_FEATURES_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace dime {

// What an item is.
enum class Modality { kImage, kCaption };

inline Modality OtherModality(Modality modality) {
  return modality == Modality::kImage ? Modality::kCaption : Modality::kImage;
}
absl::string_view ModalityName(Modality modality);  // "image", "caption"

// The two DIME models of one shape: the i-t model refines an image's regions under a caption, the
// t-i model a caption's words under an image. Either serves both search directions.
enum class Direction : int { kI2t = 0, kT2i = 1 };
inline constexpr int kNumDirections = 2;
inline constexpr std::array<Direction, kNumDirections> kDirections = {Direction::kI2t,
                                                                      Direction::kT2i};
absl::string_view DirectionName(Direction direction);  // "i2t", "t2i"

// Which score orders the hits: that of one model, or the mean of both.
enum class ScoreMode { kI2t, kT2i, kEnsemble };
inline constexpr int kNumScoreModes = 3;
inline constexpr std::array<ScoreMode, kNumScoreModes> kScoreModes = {
    ScoreMode::kI2t, ScoreMode::kT2i, ScoreMode::kEnsemble};
absl::string_view ScoreModeName(ScoreMode mode);  // "i2t", "t2i", "ensemble"
inline bool Uses(ScoreMode mode, Direction direction) {
  return mode == ScoreMode::kEnsemble ||
         (mode == ScoreMode::kI2t) == (direction == Direction::kI2t);
}

// Evaluations that a pair's score takes.
inline int NumDirections(ScoreMode mode) { return mode == ScoreMode::kEnsemble ? 2 : 1; }

// One model's features of `count` items of one modality; E is that model's joint dimension.
struct DirectionFeaturesView {
  int embed_size = 0;              // E; 0 if the model lacks this direction
  absl::Span<const float> local;   // (count, positions, E) row-major; regions or words, unit rows
  absl::Span<const float> global;  // (count, E); |image| or sentence vector of each item
};

// The encoded form of `count` items of one modality: all that reranking and recall need of them.
// A view: what it was made from must outlive it.
struct EncodedItemsView {
  Modality modality = Modality::kImage;
  int64_t count = 0;
  int positions = 0;                  // R regions or L words, padding included
  absl::Span<const int32_t> lengths;  // (count); valid positions: R, or tokens incl. [CLS], [SEP]
  std::array<DirectionFeaturesView, kNumDirections> directions;  // indexed by Direction
  int coarse_dim = 0;                                            // C
  absl::Span<const float> coarse;  // (count, C) unit rows: the first stage's embedding

  const DirectionFeaturesView& of(Direction direction) const {
    return directions[static_cast<int>(direction)];
  }
  // Items [first, first + n); the caller keeps within count.
  EncodedItemsView Slice(int64_t first, int64_t n) const;
};

// The same, owning its arrays.
struct DirectionFeatures {
  int embed_size = 0;
  std::vector<float> local;
  std::vector<float> global;
};

struct EncodedItems {
  Modality modality = Modality::kImage;
  int64_t count = 0;
  int positions = 0;
  std::vector<int32_t> lengths;
  std::array<DirectionFeatures, kNumDirections> directions;
  int coarse_dim = 0;
  std::vector<float> coarse;

  EncodedItemsView view() const;
};

// The sizes of a view's items: the same view without the items.
EncodedItemsView ShapeOf(const EncodedItemsView& items);
// Whether items of these two have the same sizes.
bool SameShape(const EncodedItemsView& a, const EncodedItemsView& b);
// A copy of the items at `places`, each from 0 to items.count - 1; repeats are allowed.
EncodedItems CopyItems(const EncodedItemsView& items, absl::Span<const int64_t> places);

}  // namespace dime

#endif  // DIME_INDEX_FEATURES_H_
