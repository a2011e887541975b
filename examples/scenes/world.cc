#include "examples/scenes/world.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "examples/scenes/scene_sampler.h"

namespace dime::scenes {
namespace {

constexpr std::array<absl::string_view, kSplits> kSplitNames = {"train", "dev", "test"};

// What a random stream is for, as part of its key.
enum Purpose : uint64_t { kSampling = 1, kWriting = 2 };

std::string IdOf(Split split, int row) {
  return absl::StrFormat("scene-%s-%05d", NameOf(split), row);
}

}  // namespace

absl::string_view NameOf(Split split) { return kSplitNames[static_cast<size_t>(split)]; }

WorldEntry World::MakeEntry(Split split, int row, TwinKind kind, const Scene& scene,
                            const Scene& twin, RandomStream& random) const {
  WorldEntry entry;
  entry.id = IdOf(split, row);
  entry.twin_id = IdOf(split, row ^ 1);
  entry.twin_kind = kind;
  entry.scene = scene;
  entry.captions = writer_.Write(scene, twin, options_.captions, random);
  const SceneFacts twin_facts(twin);
  for (const Caption& caption : entry.captions) {
    entry.true_of_twin.push_back(IsTrue(caption, twin_facts));
  }
  return entry;
}

bool World::KeepOneCaption(int row, WorldEntry& entry) {
  std::vector<int> telling;
  for (size_t k = 0; k < entry.captions.size(); ++k) {
    if (!entry.true_of_twin[k]) telling.push_back(static_cast<int>(k));
  }
  if (telling.empty()) return false;
  const int kept = telling[static_cast<size_t>(row) / 2 % telling.size()];
  entry.captions = {entry.captions[kept]};
  entry.true_of_twin = {false};
  return true;
}

absl::StatusOr<std::vector<WorldEntry>> World::MakeSplit(Split split, int scenes) {
  if (scenes < 0 || scenes % 2 != 0) {
    return absl::InvalidArgumentError(absl::StrCat("the ", NameOf(split), " split cannot have ",
                                                   scenes,
                                                   " scenes: they come as twins, so the number "
                                                   "must be even (and not negative)"));
  }
  const SceneSampler sampler(options_.scenes);
  std::vector<WorldEntry> entries;
  entries.reserve(scenes);
  for (int row = 0; row < scenes; row += 2) {
    const uint64_t pair = static_cast<uint64_t>(row) / 2;
    RandomStream sampling({seed_, static_cast<uint64_t>(split), pair, kSampling});
    RandomStream writing({seed_, static_cast<uint64_t>(split), pair, kWriting});
    while (true) {
      const TwinScenes twins = sampler.SampleTwins(sampling);
      if (signatures_.contains(twins.first.Signature()) ||
          signatures_.contains(twins.second.Signature())) {
        continue;
      }
      WorldEntry first = MakeEntry(split, row, twins.kind, twins.first, twins.second, writing);
      WorldEntry second = MakeEntry(split, row + 1, twins.kind, twins.second, twins.first, writing);
      if (options_.one_caption &&
          (!KeepOneCaption(row, first) || !KeepOneCaption(row + 1, second))) {
        continue;
      }
      signatures_.insert(twins.first.Signature());
      signatures_.insert(twins.second.Signature());
      entries.push_back(std::move(first));
      entries.push_back(std::move(second));
      break;
    }
  }
  return entries;
}

}  // namespace dime::scenes
