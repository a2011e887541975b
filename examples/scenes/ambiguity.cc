#include "examples/scenes/ambiguity.h"

#include <algorithm>
#include <cstddef>

namespace dime::scenes {
namespace {

constexpr int kPhraseCodes = (kShapes + 1) * (kColours + 1) * (kSizes + 1) * (kFills + 1);

template <typename T>
int CodeOf(const std::optional<T>& value) {
  return value.has_value() ? 1 + static_cast<int>(*value) : 0;
}

// A number for each phrase, its count left aside.
int CodeOf(const NounPhrase& phrase) {
  int code = CodeOf(phrase.shape);
  code = code * (kColours + 1) + CodeOf(phrase.colour);
  code = code * (kSizes + 1) + CodeOf(phrase.size);
  return code * (kFills + 1) + CodeOf(phrase.fill);
}

}  // namespace

TruthIndex::TruthIndex(absl::Span<const Scene> scenes)
    : scenes_(scenes.begin(), scenes.end()), masks_(kPhraseCodes) {}

const std::vector<uint8_t>& TruthIndex::MasksOf(const NounPhrase& phrase) {
  std::vector<uint8_t>& masks = masks_[CodeOf(phrase)];
  if (masks.empty()) {
    masks.reserve(scenes_.size());
    for (const SceneFacts& scene : scenes_) masks.push_back(ObjectsMatching(phrase, scene));
  }
  return masks;
}

std::vector<int> TruthIndex::RowsWhereTrue(const Caption& caption) {
  std::vector<uint8_t> possible(scenes_.size(), 1);
  for (const NounPhrase& phrase : caption.phrases) {
    const std::vector<uint8_t>& masks = MasksOf(phrase);
    for (size_t s = 0; s < possible.size(); ++s) possible[s] &= masks[s] != 0;
  }
  std::vector<int> rows;
  for (size_t s = 0; s < possible.size(); ++s) {
    if (possible[s] != 0 && IsTrue(caption, scenes_[s])) rows.push_back(static_cast<int>(s));
  }
  return rows;
}

RecallCeiling ComputeCeiling(absl::Span<const std::vector<int>> rows_where_true, int images,
                             int captions_per_image) {
  RecallCeiling ceiling;
  if (images == 0 || rows_where_true.empty()) return ceiling;
  std::vector<int> true_captions(images, 0);
  for (const std::vector<int>& rows : rows_where_true) {
    for (int row : rows) ++true_captions[row];
  }
  for (size_t d = 0; d < kRecallDepths.size(); ++d) {
    const int depth = kRecallDepths[d];
    double text_to_image = 0;
    for (const std::vector<int>& rows : rows_where_true) {
      text_to_image += std::min(1.0, static_cast<double>(depth) / std::max<size_t>(rows.size(), 1));
    }
    ceiling.text_to_image[d] = 100 * text_to_image / static_cast<double>(rows_where_true.size());
    double image_to_text = 0;
    for (int count : true_captions) {
      double none = 1;
      for (int drawn = 0; drawn < depth && none > 0; ++drawn) {
        const int others_left = count - captions_per_image - drawn;
        none *= others_left <= 0 ? 0 : static_cast<double>(others_left) / (count - drawn);
      }
      image_to_text += 1 - none;
    }
    ceiling.image_to_text[d] = 100 * image_to_text / images;
  }
  return ceiling;
}

}  // namespace dime::scenes
