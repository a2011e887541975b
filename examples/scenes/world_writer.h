#ifndef DIME_EXAMPLES_SCENES_WORLD_WRITER_H_
#define DIME_EXAMPLES_SCENES_WORLD_WRITER_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "examples/scenes/ambiguity.h"
#include "examples/scenes/world.h"

namespace dime::scenes {

// What is known of a split once it is written; part of world.json.
struct SplitSummary {
  std::string name;
  int scenes = 0;
  int captions = 0;
  double mean_words = 0;        // per caption
  double mean_true_scenes = 0;  // scenes of the split that a caption is true of
  std::array<int, kTwinKinds> scenes_of_twin_kind = {};
  std::array<int, kCaptionKinds> captions_false_of_twin = {};
  RecallCeiling ceiling;
};

// Writes splits of a world in the precomputed layout, as the README beside this file describes it:
// SPLIT_ims.npy, SPLIT_caps.txt, SPLIT_boxes.npy, SPLIT_meta.json, SPLIT_truth.json and, where
// asked for, SPLIT_images/*.png. Equal input gives equal bytes. Not thread-safe.
class WorldWriter {
 public:
  // `directory` is made if it is missing; files of earlier runs are replaced.
  static absl::StatusOr<WorldWriter> Create(std::string directory);

  // `progress` is called with each number of scenes written; may be empty.
  absl::StatusOr<SplitSummary> WriteSplit(Split split, absl::Span<const WorldEntry> entries,
                                          bool with_png, const std::function<void(int)>& progress);
  // world.json: the seed, the splits' summaries, and what the features are.
  absl::Status WriteSummary(uint64_t seed, absl::Span<const SplitSummary> splits);

 private:
  explicit WorldWriter(std::string directory) : directory_(std::move(directory)) {}
  std::string PathOf(Split split, absl::string_view suffix) const;

  std::string directory_;
};

}  // namespace dime::scenes

#endif  // DIME_EXAMPLES_SCENES_WORLD_WRITER_H_
