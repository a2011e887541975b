#ifndef DIME_EXAMPLES_SCENES_SPLIT_READER_H_
#define DIME_EXAMPLES_SCENES_SPLIT_READER_H_

#include <array>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/scenes/caption.h"
#include "examples/scenes/scene.h"

namespace dime::scenes {

// One entry of SPLIT_meta.json as WorldWriter wrote it.
struct SplitEntry {
  std::string id;
  TwinKind twin_kind = TwinKind::kAttributes;
  std::array<bool, kCaptionKinds> true_of_twin = {};  // by CaptionKind, the captions' own order
  Scene scene;
};

// Reads SPLIT_meta.json of a world: as many entries as scenes, twins side by side. NOT_FOUND or
// INVALID_ARGUMENT naming the file and the entry for anything else.
absl::StatusOr<std::vector<SplitEntry>> ReadSplitEntries(const std::string& directory,
                                                         const std::string& split);

// Reads SPLIT_truth.json: for each caption the rows of the scenes of which it is true, all below
// `scenes`; kCaptionKinds captions a scene. Errors as above.
absl::StatusOr<std::vector<std::vector<int>>> ReadTruth(const std::string& directory,
                                                        const std::string& split, int scenes);

}  // namespace dime::scenes

#endif  // DIME_EXAMPLES_SCENES_SPLIT_READER_H_
