#include "examples/scenes/caption_phrasing.h"

#include <array>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace dime::scenes {
namespace {

constexpr std::array<absl::string_view, kMaxObjects + 1> kNumbers = {"no",    "one",  "two",
                                                                     "three", "four", "five"};

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

// "small striped red " or "", each adjective followed by a blank.
std::string Adjectives(const NounPhrase& phrase, RandomStream& random) {
  std::string text;
  if (phrase.size.has_value()) {
    if (*phrase.size == Size::kLarge) {
      absl::StrAppend(&text, random.Chance(0.65) ? "large " : "big ");
    } else {
      absl::StrAppend(&text, random.Chance(0.8) ? "small " : "little ");
    }
  }
  if (phrase.fill.has_value()) {
    if (*phrase.fill == Fill::kOutlined) {
      absl::StrAppend(&text, random.Chance(0.75) ? "outlined " : "hollow ");
    } else if (*phrase.fill == Fill::kSolid) {
      absl::StrAppend(&text, random.Chance(0.75) ? "solid " : "filled ");
    } else {
      absl::StrAppend(&text, "striped ");
    }
  }
  if (phrase.colour.has_value()) absl::StrAppend(&text, View(NameOf(*phrase.colour)), " ");
  return text;
}

std::string Noun(const NounPhrase& phrase, bool plural) {
  const std::string noun(phrase.shape.has_value() ? View(NameOf(*phrase.shape)) : "shape");
  if (!plural) return noun;
  return noun + (noun.back() == 's' ? "es" : "s");
}

std::string WithArticle(absl::string_view text) {
  const bool vowel = absl::string_view("aeio").find(text.front()) != absl::string_view::npos;
  return absl::StrCat(vowel ? "an " : "a ", text);
}

bool IsPlural(const NounPhrase& phrase) { return phrase.exact_count > 1; }

std::string NounPhraseText(const NounPhrase& phrase, RandomStream& random) {
  const std::string rest = absl::StrCat(Adjectives(phrase, random), Noun(phrase, IsPlural(phrase)));
  if (phrase.exact_count == 0) return WithArticle(rest);
  if (phrase.exact_count == 1) {
    switch (random.Weighted({0.6, 0.15, 0.15, 0.1})) {
      case 0:
        return absl::StrCat("one ", rest);
      case 1:
        return absl::StrCat("exactly one ", rest);
      case 2:
        return absl::StrCat("just one ", rest);
      default:
        return absl::StrCat("a single ", rest);
    }
  }
  return absl::StrCat(random.Chance(0.1) ? "exactly " : "", kNumbers[phrase.exact_count], " ",
                      rest);
}

std::string RelationText(Relation relation, RandomStream& random) {
  switch (relation) {
    case Relation::kLeftOf:
      return random.Chance(0.45) ? "left of" : "to the left of";
    case Relation::kRightOf:
      return random.Chance(0.45) ? "right of" : "to the right of";
    case Relation::kAbove:
      return random.Chance(0.8) ? "above" : "over";
    case Relation::kBelow:
      break;
  }
  return random.Chance(0.7) ? "below" : "under";
}

std::string Conjunction(const NounPhrase& a, const NounPhrase& b, RandomStream& random) {
  const std::string first = NounPhraseText(a, random);
  const std::string second = NounPhraseText(b, random);
  switch (random.Weighted({0.5, 0.12, 0.1, 0.12, 0.08, 0.08})) {
    case 0:
      return absl::StrCat(first, " and ", second);
    case 1:
      return absl::StrCat(first, " with ", second);
    case 2:
      return absl::StrCat(first, " together with ", second);
    case 3:
      return absl::StrCat("there ", IsPlural(a) ? "are " : "is ", first, " and ", second);
    case 4:
      return absl::StrCat("a picture of ", first, " and ", second);
    default:
      return absl::StrCat(first, " as well as ", second);
  }
}

std::string Statement(const NounPhrase& a, Relation relation, const NounPhrase& b,
                      RandomStream& random) {
  const std::string first = NounPhraseText(a, random);
  const std::string second = NounPhraseText(b, random);
  const absl::string_view be = IsPlural(a) ? "are" : "is";
  switch (random.Weighted({0.4, 0.35, 0.1, 0.15})) {
    case 0:
      return absl::StrCat(first, " ", be, " ", RelationText(relation, random), " ", second);
    case 1:
      return absl::StrCat(first, " ", RelationText(relation, random), " ", second);
    case 2:
      return absl::StrCat("there ", be, " ", first, " ", RelationText(relation, random), " ",
                          second);
    default:
      // Inverted: the order of mention is not the order in the picture.
      return absl::StrCat(RelationText(relation, random), " ", second, " ", be, " ", first);
  }
}

// "above and to the left of": one object to another in two ways.
std::string DiagonalStatement(const Caption& caption, RandomStream& random) {
  const std::string first = NounPhraseText(caption.phrases[0], random);
  return absl::StrCat(first,
                      IsPlural(caption.phrases[0]) ? " are "
                      : random.Chance(0.5)         ? " is "
                                                   : " ",
                      RelationText(caption.relations[0].relation, random), " and ",
                      RelationText(caption.relations[1].relation, random), " ",
                      NounPhraseText(caption.phrases[1], random));
}

std::string TotalText(const Caption& caption, RandomStream& random) {
  const std::string shapes = absl::StrCat(kNumbers[caption.total], " shapes");
  if (caption.phrases.size() == 1) {
    const NounPhrase& phrase = caption.phrases[0];
    std::string sort = Adjectives(phrase, random);
    if (phrase.shape.has_value()) {
      absl::StrAppend(&sort, Noun(phrase, IsPlural(phrase)));
      if (!IsPlural(phrase)) sort = WithArticle(sort);
    } else {
      sort.pop_back();  // the blank after the last adjective
    }
    return absl::StrCat(shapes, random.Chance(0.7) ? ", " : ", exactly ",
                        kNumbers[phrase.exact_count], " of them ", sort);
  }
  if (caption.relations.empty()) {
    const std::string both = absl::StrCat(NounPhraseText(caption.phrases[0], random), " and ",
                                          NounPhraseText(caption.phrases[1], random));
    const bool these_are_all = caption.total == 2;
    return random.Chance(0.6) ? absl::StrCat(shapes, these_are_all ? ", " : ", among them ", both)
                              : absl::StrCat(both, these_are_all ? ", " : " among ", shapes,
                                             these_are_all ? " in all" : "");
  }
  const std::string statement =
      Statement(caption.phrases[0], caption.relations[0].relation, caption.phrases[1], random);
  return random.Chance(0.5) ? absl::StrCat(shapes, ", ", statement)
                            : absl::StrCat(statement, ", ", shapes, " in all");
}

std::string ThreePhraseText(const Caption& caption, RandomStream& random) {
  const NounPhrase& a = caption.phrases[0];
  const NounPhrase& b = caption.phrases[1];
  const NounPhrase& c = caption.phrases[2];
  if (caption.relations.empty()) {
    const std::string first = NounPhraseText(a, random);
    const std::string second = NounPhraseText(b, random);
    return absl::StrCat(first, ", ", second, " and ", NounPhraseText(c, random));
  }
  if (caption.relations.size() == 1) {
    const std::string third = NounPhraseText(c, random);
    const std::string statement = Statement(a, caption.relations[0].relation, b, random);
    switch (random.Weighted({0.5, 0.25, 0.25})) {
      case 0:
        return absl::StrCat(statement, ", and ", third);
      case 1:
        return absl::StrCat(statement, ", with ", third);
      default:
        return absl::StrCat(third, ", and ", statement);
    }
  }
  const std::string first = NounPhraseText(a, random);
  const std::string second = NounPhraseText(b, random);
  const std::string third = NounPhraseText(c, random);
  const std::string be = IsPlural(a) ? " are " : random.Chance(0.5) ? " is " : " ";
  const Relation to_second = caption.relations[0].relation;
  const Relation to_third = caption.relations[1].relation;
  if (to_second == to_third) {
    return absl::StrCat(first, be, RelationText(to_second, random), " both ", second, " and ",
                        third);
  }
  return absl::StrCat(first, be, RelationText(to_second, random), " ", second, " and ",
                      RelationText(to_third, random), " ", third);
}

}  // namespace

std::string PutIntoWords(const Caption& caption, RandomStream& random) {
  if (caption.total != 0) return TotalText(caption, random);
  if (caption.phrases.size() == 3) return ThreePhraseText(caption, random);
  if (caption.relations.size() == 2) return DiagonalStatement(caption, random);
  if (caption.relations.size() == 1) {
    return Statement(caption.phrases[0], caption.relations[0].relation, caption.phrases[1], random);
  }
  return Conjunction(caption.phrases[0], caption.phrases[1], random);
}

}  // namespace dime::scenes
