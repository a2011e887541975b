#include "examples/scenes/caption.h"

#include <algorithm>
#include <array>
#include <bit>

#include "absl/types/span.h"

namespace dime::scenes {
namespace {

constexpr std::array<std::string_view, kCaptionKinds> kKindNames = {"attributes", "binding",
                                                                    "relation", "count", "mixed"};

template <typename T>
size_t Index(T value) {
  return static_cast<size_t>(value);
}

bool RelationsHold(const Caption& caption, const SceneFacts& scene,
                   absl::Span<const uint8_t> assigned) {
  for (const RelationClause& clause : caption.relations) {
    const uint8_t objects = assigned[clause.object];
    for (int i = 0; i < scene.object_count; ++i) {
      if ((assigned[clause.subject] >> i & 1) == 0) continue;
      if ((objects & ~scene.related[Index(clause.relation)][i]) != 0) return false;
    }
  }
  return true;
}

// Assigns an object to each phrase from `phrase` on that has none yet, in every possible way.
bool CanAssign(const Caption& caption, const SceneFacts& scene, size_t phrase, uint8_t taken,
               absl::Span<uint8_t> assigned) {
  while (phrase < assigned.size() && assigned[phrase] != 0) ++phrase;
  if (phrase == assigned.size()) return RelationsHold(caption, scene, assigned);
  const uint8_t choices = ObjectsMatching(caption.phrases[phrase], scene) & ~taken;
  for (int i = 0; i < scene.object_count; ++i) {
    const uint8_t bit = static_cast<uint8_t>(1u << i);
    if ((choices & bit) == 0) continue;
    assigned[phrase] = bit;
    if (CanAssign(caption, scene, phrase + 1, taken | bit, assigned)) return true;
    assigned[phrase] = 0;
  }
  return false;
}

}  // namespace

std::string_view NameOf(CaptionKind kind) { return kKindNames[Index(kind)]; }

template <>
std::optional<CaptionKind> FromName(std::string_view name) {
  const auto found = std::find(kKindNames.begin(), kKindNames.end(), name);
  if (found == kKindNames.end()) return std::nullopt;
  return static_cast<CaptionKind>(found - kKindNames.begin());
}

uint8_t ObjectsMatching(const NounPhrase& phrase, const SceneFacts& scene) {
  uint8_t mask = static_cast<uint8_t>((1u << scene.object_count) - 1);
  if (phrase.shape.has_value()) mask &= scene.of_shape[Index(*phrase.shape)];
  if (phrase.colour.has_value()) mask &= scene.of_colour[Index(*phrase.colour)];
  if (phrase.size.has_value()) mask &= scene.of_size[Index(*phrase.size)];
  if (phrase.fill.has_value()) mask &= scene.of_fill[Index(*phrase.fill)];
  return mask;
}

bool IsTrue(const Caption& caption, const SceneFacts& scene) {
  if (caption.total != 0 && caption.total != scene.object_count) return false;
  if (caption.phrases.size() > kMaxObjects) return false;  // more things than a scene can hold
  std::array<uint8_t, kMaxObjects> storage = {};
  const absl::Span<uint8_t> assigned = absl::MakeSpan(storage).first(caption.phrases.size());
  uint8_t taken = 0;
  for (size_t i = 0; i < caption.phrases.size(); ++i) {
    const NounPhrase& phrase = caption.phrases[i];
    if (phrase.exact_count == 0) continue;
    const uint8_t mask = ObjectsMatching(phrase, scene);
    if (std::popcount(mask) != phrase.exact_count || (mask & taken) != 0) return false;
    assigned[i] = mask;
    taken |= mask;
  }
  return CanAssign(caption, scene, 0, taken, assigned);
}

}  // namespace dime::scenes
