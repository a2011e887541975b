#ifndef DIME_EXAMPLES_SCENES_AMBIGUITY_H_
#define DIME_EXAMPLES_SCENES_AMBIGUITY_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "examples/scenes/caption.h"
#include "examples/scenes/scene.h"

namespace dime::scenes {

// The depths at which recall is reported.
inline constexpr std::array<int, 3> kRecallDepths = {1, 5, 10};

// Tests captions on all scenes of a split. For every noun phrase met, one byte a scene (the objects
// that answer to it) is kept, so that most scenes are dismissed by a scan of bytes.
// Not thread-safe.
class TruthIndex {
 public:
  explicit TruthIndex(absl::Span<const Scene> scenes);

  // The scenes of which the caption is true, as rows in ascending order.
  std::vector<int> RowsWhereTrue(const Caption& caption);

 private:
  const std::vector<uint8_t>& MasksOf(const NounPhrase& phrase);

  const std::vector<SceneFacts> scenes_;
  std::vector<std::vector<uint8_t>> masks_;  // by phrase code, then scene; empty until asked for
};

// What recall a perfect judge of truth could expect, given that captions are true of more images
// than their own and that ties are broken at random. In percent, at each of kRecallDepths.
struct RecallCeiling {
  std::array<double, kRecallDepths.size()> text_to_image = {};
  std::array<double, kRecallDepths.size()> image_to_text = {};
};

// `rows_where_true[c]` are the images of which caption c is true; caption c belongs to image
// c / captions_per_image and must be true of it.
//   text to image:  a caption true of n images finds its own within the first k of them with
//                   probability min(1, k / n).
//   image to text:  of the t captions true of an image, k are drawn; at least one of its own is
//                   among them with probability 1 - C(t - own, k) / C(t, k).
RecallCeiling ComputeCeiling(absl::Span<const std::vector<int>> rows_where_true, int images,
                             int captions_per_image);

}  // namespace dime::scenes

#endif  // DIME_EXAMPLES_SCENES_AMBIGUITY_H_
