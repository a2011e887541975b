#include "examples/scenes/caption_writer.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <utility>

#include "examples/scenes/caption_phrasing.h"
#include "examples/scenes/scene_sampler.h"

namespace dime::scenes {
namespace {

constexpr int kAttempts = 80;  // candidates of one kind before the best so far is taken
constexpr int kGroupAttempts = 6;
constexpr int kReferenceScenes = 500;
constexpr uint64_t kReferenceSeed = 0x5CA1E;
constexpr int kMaxReferenceMatches = 3;  // more are vague

// The probability with which a phrase tells each attribute beside the shape.
struct Detail {
  double colour = 0;
  double fill = 0;
  double size = 0;
};

// Proposes captions of one scene. Every proposal is a candidate only: it may be untrue (a phrase
// of one object may be counted wrongly beside another), and the caller tests it.
class Proposer {
 public:
  Proposer(const Scene& scene, const SceneFacts& facts, RandomStream& random)
      : scene_(scene), facts_(facts), random_(random) {}

  std::optional<Caption> Propose(CaptionKind kind) {
    std::optional<Caption> caption;
    switch (kind) {
      case CaptionKind::kAttributes:
        caption = ProposeAttributes();
        break;
      case CaptionKind::kBinding:
        caption = ProposeBinding();
        break;
      case CaptionKind::kRelation:
        caption = ProposeRelation();
        break;
      case CaptionKind::kCount:
        caption = ProposeCount();
        break;
      case CaptionKind::kMixed:
        caption = ProposeMixed();
        break;
    }
    if (caption.has_value()) caption->kind = kind;
    return caption;
  }

 private:
  std::vector<int> ShuffledObjects() {
    std::vector<int> order(scene_.objects.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
    random_.Shuffle(order);
    return order;
  }

  NounPhrase Describe(int index, const Detail& detail) {
    const SceneObject& object = scene_.objects[index];
    NounPhrase phrase;
    phrase.shape = object.shape;
    if (random_.Chance(detail.colour)) phrase.colour = object.colour;
    if (random_.Chance(detail.fill)) phrase.fill = object.fill;
    if (random_.Chance(detail.size)) phrase.size = object.size;
    return phrase;
  }

  // A counted phrase about the objects that share something with a random one, at least `least`.
  std::optional<NounPhrase> CountGroup(int least) {
    for (int attempt = 0; attempt < kGroupAttempts; ++attempt) {
      NounPhrase phrase = CountLikeRandomObject();
      if (phrase.exact_count >= least) return phrase;
    }
    return std::nullopt;
  }

  NounPhrase CountLikeRandomObject() {
    const SceneObject& object = random_.Pick(scene_.objects);
    NounPhrase phrase;
    const int sort = random_.Weighted({0.35, 0.15, 0.2, 0.08, 0.08, 0.06, 0.08});
    const bool with_shape = sort == 0 || sort == 2 || sort == 3 || sort == 4;
    const bool with_colour = sort == 1 || sort == 2 || sort == 5;
    if (with_shape) phrase.shape = object.shape;
    if (with_colour) phrase.colour = object.colour;
    if (sort == 3 || sort == 5 || sort == 6) phrase.fill = object.fill;
    if (sort == 4) phrase.size = object.size;
    phrase.exact_count = std::popcount(ObjectsMatching(phrase, facts_));
    return phrase;
  }

  // Some relation in which all of `subjects` stand to all of `objects` (masks).
  std::optional<Relation> RelationBetween(uint8_t subjects, uint8_t objects) {
    std::vector<Relation> holding;
    for (int r = 0; r < kRelations; ++r) {
      bool holds = (subjects & objects) == 0;
      for (int i = 0; i < facts_.object_count && holds; ++i) {
        if ((subjects >> i & 1) != 0) holds = (objects & ~facts_.related[r][i]) == 0;
      }
      if (holds) holding.push_back(static_cast<Relation>(r));
    }
    if (holding.empty()) return std::nullopt;
    return random_.Pick(holding);
  }

  static uint8_t Bit(int index) { return static_cast<uint8_t>(1u << index); }

  std::optional<Caption> ProposeAttributes() {
    const std::vector<int> order = ShuffledObjects();
    Caption caption;
    caption.phrases = {Describe(order[0], {.colour = 0.95, .fill = 0.6, .size = 0.4}),
                       Describe(order[1], {.colour = 0.95, .fill = 0.6, .size = 0.4})};
    return caption;
  }

  std::optional<Caption> ProposeBinding() {
    const std::vector<int> order = ShuffledObjects();
    Detail detail;
    switch (random_.Weighted({0.5, 0.3, 0.2})) {
      case 0:
        detail = {.colour = 1, .fill = random_.Chance(0.4) ? 1.0 : 0.0, .size = 0.15};
        break;
      case 1:
        detail = {.colour = random_.Chance(0.6) ? 1.0 : 0.0, .fill = 1, .size = 0};
        break;
      default:
        detail = {.colour = random_.Chance(0.6) ? 1.0 : 0.0, .fill = 0, .size = 1};
        break;
    }
    Caption caption;
    caption.phrases = {Describe(order[0], detail), Describe(order[1], detail)};
    // With their adjectives exchanged, the same words must be untrue.
    Caption exchanged = caption;
    std::swap(exchanged.phrases[0].shape, exchanged.phrases[1].shape);
    if (IsTrue(exchanged, facts_)) return std::nullopt;
    return caption;
  }

  std::optional<Caption> RelateTwo(const Detail& detail) {
    const std::vector<int> order = ShuffledObjects();
    const std::optional<Relation> relation = RelationBetween(Bit(order[0]), Bit(order[1]));
    if (!relation.has_value()) return std::nullopt;
    Caption caption;
    caption.phrases = {Describe(order[0], detail), Describe(order[1], detail)};
    caption.relations = {{0, *relation, 1}};
    return caption;
  }

  // "two stars left of a blue square", either way round.
  std::optional<Caption> RelateGroup() {
    const std::optional<NounPhrase> group = CountGroup(2);
    if (!group.has_value()) return std::nullopt;
    const int single = random_.Below(static_cast<int>(scene_.objects.size()));
    const uint8_t members = ObjectsMatching(*group, facts_);
    const NounPhrase other = Describe(single, {.colour = 0.9, .fill = 0.25, .size = 0.15});
    const bool group_first = random_.Chance(0.6);
    const std::optional<Relation> relation =
        group_first ? RelationBetween(members, Bit(single)) : RelationBetween(Bit(single), members);
    if (!relation.has_value()) return std::nullopt;
    Caption caption;
    if (group_first) {
      caption.phrases = {*group, other};
    } else {
      caption.phrases = {other, *group};
    }
    caption.relations = {{0, *relation, 1}};
    return caption;
  }

  std::optional<Caption> ProposeRelation() {
    if (random_.Chance(0.12)) return RelateGroup();
    return RelateTwo({.colour = 0.88, .fill = 0.25, .size = 0.2});
  }

  std::optional<Caption> ProposeCount() {
    Caption caption;
    const int form = random_.Weighted({0.4, 0.15, 0.12, 0.08, 0.08, 0.17});
    const Detail detail = {.colour = 0.88, .fill = 0.3, .size = 0.2};
    if (form == 4) return RelateGroup();
    if (form == 3) {  // "four shapes, among them a red star and a blue heart"
      const std::vector<int> order = ShuffledObjects();
      caption.total = facts_.object_count;
      caption.phrases = {Describe(order[0], detail), Describe(order[1], detail)};
      return caption;
    }
    // A single thing may be counted too, but groups come first where there are any.
    const std::optional<NounPhrase> group = CountGroup(random_.Chance(0.85) ? 2 : 1);
    if (!group.has_value()) return std::nullopt;
    if (form == 2) {  // "four shapes, two of them red"
      if (group->exact_count == facts_.object_count) return std::nullopt;
      caption.total = facts_.object_count;
      caption.phrases = {*group};
      return caption;
    }
    if (form == 1) {  // "two stars and two circles", "two stars and one circle"
      const std::optional<NounPhrase> other = CountGroup(1);
      if (!other.has_value()) return std::nullopt;
      caption.phrases = {*group, *other};
    } else {  // "two stars and a blue square", "two stars, a red cross and a blue square"
      const std::vector<int> order = ShuffledObjects();
      caption.phrases = {*group, Describe(order[0], detail)};
      if (form == 5) caption.phrases.push_back(Describe(order[1], detail));
    }
    if (random_.Chance(0.3)) std::swap(caption.phrases[0], caption.phrases[1]);
    return caption;
  }

  std::optional<Caption> ProposeMixed() {
    const int form = random_.Weighted({0.35, 0.2, 0.15, 0.15, 0.15});
    const Detail detail = {.colour = 0.85, .fill = 0.3, .size = 0.2};
    if (form == 4) {  // a relation and the number of all
      std::optional<Caption> caption = RelateTwo(detail);
      if (caption.has_value()) caption->total = facts_.object_count;
      return caption;
    }
    if (form == 3 || facts_.object_count < 3) {  // "above and to the left of"
      std::optional<Caption> caption = RelateTwo({.colour = 0.95, .fill = 0.5, .size = 0.3});
      if (!caption.has_value()) return std::nullopt;
      if (random_.Chance(0.6)) {
        Caption other = *caption;
        for (int r = 0; r < kRelations; ++r) {
          const Relation relation = static_cast<Relation>(r);
          // Vertical before horizontal, as English has it.
          if (caption->relations[0].relation >= Relation::kAbove && relation < Relation::kAbove) {
            other.relations = {caption->relations[0], {0, relation, 1}};
            if (IsTrue(other, facts_)) return other;
          }
        }
      }
      return caption;
    }
    if (form == 2) {  // a group related to an object, and a third thing
      std::optional<Caption> caption = RelateGroup();
      if (!caption.has_value()) return std::nullopt;
      caption->phrases.push_back(
          Describe(random_.Below(facts_.object_count), {.colour = 0.9, .fill = 0.1, .size = 0.1}));
      return caption;
    }
    std::optional<Caption> caption = RelateTwo(detail);
    if (!caption.has_value()) return std::nullopt;
    const int third = random_.Below(facts_.object_count);
    caption->phrases.push_back(Describe(third, {.colour = 0.85, .fill = 0.2, .size = 0.15}));
    if (form == 1) {  // the first is related to both others
      Caption both = *caption;
      const Relation relation = static_cast<Relation>(random_.Below(kRelations));
      both.relations.push_back({0, relation, 2});
      return both;
    }
    return caption;
  }

  const Scene& scene_;
  const SceneFacts& facts_;
  RandomStream& random_;
};

std::vector<SceneFacts> ReferenceScenes() {
  const SceneSampler sampler;
  std::vector<SceneFacts> scenes;
  for (uint64_t i = 0; i < kReferenceScenes; ++i) {
    RandomStream random({kReferenceSeed, i});
    scenes.emplace_back(sampler.SampleTwins(random).first);
  }
  return scenes;
}

template <typename T>
bool Differ(const std::optional<T>& a, const std::optional<T>& b) {
  return a.has_value() && b.has_value() && *a != *b;
}

// Whether no object can answer to both phrases.
bool Contradict(const NounPhrase& a, const NounPhrase& b) {
  return Differ(a.shape, b.shape) || Differ(a.colour, b.colour) || Differ(a.size, b.size) ||
         Differ(a.fill, b.fill);
}

bool AllContradict(const std::vector<NounPhrase>& phrases) {
  for (size_t i = 0; i < phrases.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (!Contradict(phrases[i], phrases[j])) return false;
    }
  }
  return true;
}

// Whether two captions say the same, be it in another order.
bool SayTheSame(const Caption& a, const Caption& b) {
  return a.relations == b.relations && a.total == b.total &&
         (a.relations.empty() ? std::is_permutation(a.phrases.begin(), a.phrases.end(),
                                                    b.phrases.begin(), b.phrases.end())
                              : a.phrases == b.phrases);
}

// The last resort: always true of its scene.
Caption FullDescription(const Scene& scene, CaptionKind kind) {
  Caption caption;
  caption.kind = kind;
  for (int i = 0; i < 2; ++i) {
    const SceneObject& object = scene.objects[i];
    caption.phrases.push_back({object.shape, object.colour, object.size, object.fill, 0});
  }
  return caption;
}

}  // namespace

CaptionWriter::CaptionWriter() : reference_(ReferenceScenes()) {}

bool CaptionWriter::IsVague(const Caption& caption) const {
  int matches = 0;
  for (const SceneFacts& scene : reference_) {
    if (IsTrue(caption, scene) && ++matches > kMaxReferenceMatches) return true;
  }
  return false;
}

std::vector<Caption> CaptionWriter::Write(const Scene& scene, const Scene& twin,
                                          const std::array<CaptionKind, kCaptionKinds>& kinds,
                                          RandomStream& random) const {
  const SceneFacts facts(scene);
  const SceneFacts twin_facts(twin);
  Proposer proposer(scene, facts, random);
  std::vector<Caption> captions;
  for (CaptionKind kind : kinds) {
    std::optional<Caption> chosen;
    int best_merit = -1;
    for (int attempt = 0; attempt < kAttempts && best_merit < 3; ++attempt) {
      std::optional<Caption> candidate = proposer.Propose(kind);
      if (!candidate.has_value() || !AllContradict(candidate->phrases) ||
          !IsTrue(*candidate, facts)) {
        continue;
      }
      if (std::any_of(captions.begin(), captions.end(),
                      [&](const Caption& earlier) { return SayTheSame(earlier, *candidate); })) {
        continue;
      }
      const bool tells_twin = kind == CaptionKind::kAttributes || !IsTrue(*candidate, twin_facts);
      const int merit = 2 * (tells_twin ? 1 : 0) + (IsVague(*candidate) ? 0 : 1);
      if (merit > best_merit) {
        best_merit = merit;
        chosen = std::move(candidate);
      }
    }
    if (!chosen.has_value()) chosen = FullDescription(scene, kind);
    chosen->text = PutIntoWords(*chosen, random);
    captions.push_back(*std::move(chosen));
  }
  return captions;
}

}  // namespace dime::scenes
