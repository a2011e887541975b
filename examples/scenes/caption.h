#ifndef DIME_EXAMPLES_SCENES_CAPTION_H_
#define DIME_EXAMPLES_SCENES_CAPTION_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "examples/scenes/scene.h"

namespace dime::scenes {

// What a caption turns on. Every scene has one caption of each kind.
enum class CaptionKind : uint8_t { kAttributes, kBinding, kRelation, kCount, kMixed };
inline constexpr int kCaptionKinds = 5;
inline constexpr std::array<CaptionKind, kCaptionKinds> kOneOfEachKind = {
    CaptionKind::kAttributes, CaptionKind::kBinding, CaptionKind::kRelation, CaptionKind::kCount,
    CaptionKind::kMixed};
std::string_view NameOf(CaptionKind kind);
template <>
std::optional<CaptionKind> FromName(std::string_view name);

// "a striped red cross", "two stars", "one blue shape".
struct NounPhrase {
  std::optional<Shape> shape;  // unset: "shape"
  std::optional<Colour> colour;
  std::optional<Size> size;
  std::optional<Fill> fill;
  // 0: "a", at least one such object. n > 0: the scene has exactly n such objects.
  int exact_count = 0;

  bool operator==(const NounPhrase&) const = default;
};

// The first phrase stands in `relation` to the second (all its objects, where it is counted).
struct RelationClause {
  int subject = 0;  // index into Caption::phrases
  Relation relation = Relation::kLeftOf;
  int object = 0;  // index into Caption::phrases

  bool operator==(const RelationClause&) const = default;
};

// A caption as a statement about a scene, beside the words that say it.
struct Caption {
  CaptionKind kind = CaptionKind::kAttributes;
  std::vector<NounPhrase> phrases;
  std::vector<RelationClause> relations;
  int total = 0;  // n > 0: the scene has exactly n objects
  std::string text;
};

// The objects that answer to a phrase, as a bit mask, its count left aside.
uint8_t ObjectsMatching(const NounPhrase& phrase, const SceneFacts& scene);

// The truth test: whether the objects of the scene can be assigned to the caption's phrases such
// that different phrases speak of different objects, a counted phrase of all its n objects and of
// no others, and every relation holds for all objects of its two phrases.
bool IsTrue(const Caption& caption, const SceneFacts& scene);

}  // namespace dime::scenes

#endif  // DIME_EXAMPLES_SCENES_CAPTION_H_
