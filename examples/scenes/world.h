#ifndef DIME_EXAMPLES_SCENES_WORLD_H_
#define DIME_EXAMPLES_SCENES_WORLD_H_

#include <array>
#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "examples/scenes/caption.h"
#include "examples/scenes/caption_writer.h"
#include "examples/scenes/random_stream.h"
#include "examples/scenes/scene.h"
#include "examples/scenes/scene_sampler.h"

namespace dime::scenes {

enum class Split : uint8_t { kTrain, kDev, kTest };
inline constexpr int kSplits = 3;
absl::string_view NameOf(Split split);

// One scene of a split, with what is said of it. Its twin is the neighbour: rows 2k and 2k + 1.
struct WorldEntry {
  std::string id;       // "scene-test-00012"
  std::string twin_id;  // "scene-test-00013"
  TwinKind twin_kind = TwinKind::kAttributes;
  Scene scene;
  std::vector<Caption> captions;   // kCaptionKinds, ordinarily by kind; or one
  std::vector<bool> true_of_twin;  // of each caption
};

// Makes the scenes and captions of one world, a function of its seed and of the order and sizes of
// the splits asked for. No scene graph is ever repeated, within a split or between splits: one
// asked for later keeps clear of those before it (ask for the test split first, and it depends on
// the seed alone). Not thread-safe.
class World {
 public:
  // What the scenes are drawn from and what is said of them.
  struct Options {
    SceneSampler::Options scenes;
    std::array<CaptionKind, kCaptionKinds> captions = kOneOfEachKind;
    // Of these captions only one is kept for each scene, one that is false of its twin; twins
    // without are drawn again. For lessons, where many scenes teach more than many captions.
    bool one_caption = false;
  };
  explicit World(uint64_t seed) : World(seed, Options{}) {}
  World(uint64_t seed, const Options& options) : seed_(seed), options_(options) {}

  // `scenes`: how many; even, because scenes come as twins. INVALID_ARGUMENT if it is odd or
  // negative.
  absl::StatusOr<std::vector<WorldEntry>> MakeSplit(Split split, int scenes);

 private:
  WorldEntry MakeEntry(Split split, int row, TwinKind kind, const Scene& scene, const Scene& twin,
                       RandomStream& random) const;
  // Leaves one caption that is false of the twin; false if there is none.
  static bool KeepOneCaption(int row, WorldEntry& entry);

  const uint64_t seed_;
  const Options options_;
  const CaptionWriter writer_;
  std::unordered_set<std::string> signatures_;  // of all scenes made
};

}  // namespace dime::scenes

#endif  // DIME_EXAMPLES_SCENES_WORLD_H_
