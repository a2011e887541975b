#include "index/item_filter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

absl::Time At(const char* text) {
  absl::Time time;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, text, &time, nullptr));
  return time;
}

// A caption with something of everything.
class ItemFilterTest : public testing::Test {
 protected:
  // Whether `filter` matches the caption; a failure if it is no filter.
  bool Matches(const std::string& filter) const { return Matches(filter, caption_); }
  static bool Matches(const std::string& filter, const FilterSubject& subject) {
    const absl::StatusOr<ItemFilter> parsed = ItemFilter::Parse(filter);
    EXPECT_THAT(parsed, IsOk()) << filter;
    return parsed.ok() && parsed->Matches(subject);
  }
  static std::string Canonical(const std::string& filter) {
    const absl::StatusOr<ItemFilter> parsed = ItemFilter::Parse(filter);
    EXPECT_THAT(parsed, IsOk()) << filter;
    return parsed.ok() ? parsed->canonical() : "";
  }

  const json payload_ = json::parse(R"({
    "color": "red", "size": 3, "weight": 2.5, "new": true, "note": null, "empty": [],
    "tags": ["red", "Größe", 42, true, null],
    "maker": {"name": "Anna", "address": {"city": "Bern"}, "null": null},
    "parts": [{"kind": "wheel", "count": 4}, {"kind": "door", "sizes": [1, 2]}],
    "file": "pictures/a*b.png", "my field": "spaced", "version": "1.10", "id": "inner",
    "when": "2026-03-01T00:00:00Z", "AND": 1, "deep": [[["inside"]]]
  })");
  const FilterSubject caption_ = {.modality = Modality::kCaption,
                                  .id = "img-7#2",
                                  .uri = "https://x.example/7.png",
                                  .text = "a red cross left of a heart",
                                  .image_id = "img-7",
                                  .create_time = At("2026-01-31T12:00:00Z"),
                                  .update_time = At("2026-02-01T00:00:00Z"),
                                  .payload = &payload_};
};

TEST_F(ItemFilterTest, AnEmptyFilterMatchesEverything) {
  for (const char* text : {"", "  \t\n "}) {
    ASSERT_OK_AND_ASSIGN(const ItemFilter filter, ItemFilter::Parse(text));
    EXPECT_TRUE(filter.matches_everything());
    EXPECT_TRUE(filter.Matches(FilterSubject()));
    EXPECT_EQ(filter.canonical(), "");
  }
  EXPECT_FALSE(ItemFilter::Parse("a")->matches_everything());
}

TEST_F(ItemFilterTest, ComparesByTheFieldsType) {
  EXPECT_TRUE(Matches("color = red"));
  EXPECT_TRUE(Matches("color=\"red\""));
  EXPECT_TRUE(Matches("color = 'red'"));
  EXPECT_FALSE(Matches("color = Red"));
  EXPECT_FALSE(Matches("color != red"));
  EXPECT_TRUE(Matches("color != blue"));
  EXPECT_TRUE(Matches("color > blue AND color >= red AND color < rose AND color <= red"));
  EXPECT_FALSE(Matches("color > red"));

  EXPECT_TRUE(Matches("size = 3 AND size = 3.0 AND size = 3e0 AND size = 0.3e+1"));
  EXPECT_FALSE(Matches("size = \"3\""));
  EXPECT_TRUE(Matches("size > -4 AND size >= 3 AND size < 3.5 AND size <= 3"));
  EXPECT_FALSE(Matches("size > 3"));
  EXPECT_FALSE(Matches("size < big"));
  EXPECT_FALSE(Matches("size < nan OR size = inf OR size = 0x3"));
  EXPECT_TRUE(Matches("weight = 2.5"));

  EXPECT_TRUE(Matches("new = true"));
  EXPECT_FALSE(Matches("new = false"));
  EXPECT_FALSE(Matches("new = \"true\""));
  EXPECT_FALSE(Matches("new > false"));

  EXPECT_TRUE(Matches("version = 1.10"));
  EXPECT_FALSE(Matches("version = 1.1"));
  EXPECT_TRUE(Matches("when > 2026-02-28T00:00:00Z"));
}

TEST_F(ItemFilterTest, NullIsAbsence) {
  EXPECT_TRUE(Matches("note = null"));
  EXPECT_TRUE(Matches("missing = null"));
  EXPECT_FALSE(Matches("color = null"));
  EXPECT_FALSE(Matches("missing = red"));
  EXPECT_FALSE(Matches("missing < 5 OR missing > 5"));
  EXPECT_TRUE(Matches("missing != red"));
  EXPECT_FALSE(Matches("missing != null"));
  EXPECT_FALSE(Matches("note = \"null\""));
  EXPECT_FALSE(Matches("color.missing.more = red"));
  const FilterSubject bare;
  EXPECT_TRUE(Matches("color = null AND uri = null AND create_time = null", bare));
  EXPECT_FALSE(Matches("color:* OR uri:* OR create_time:* OR payload:*", bare));
}

TEST_F(ItemFilterTest, WildcardsInStrings) {
  EXPECT_TRUE(Matches("color = r*"));
  EXPECT_TRUE(Matches("color = *d AND color = \"*e*\" AND color = \"r*d\" AND color = \"*\""));
  EXPECT_FALSE(Matches("color = e*"));
  EXPECT_FALSE(Matches("color = \"red*d\""));
  EXPECT_TRUE(Matches("file = \"*.png\""));
  EXPECT_TRUE(Matches(R"(file = "pictures/a\*b.png")"));
  EXPECT_FALSE(Matches(R"(file = "pictures/\*.png")"));
  EXPECT_TRUE(Matches("file = \"p*/*b*\""));
  EXPECT_FALSE(Matches("color != \"r*\""));
  EXPECT_FALSE(Matches("size = \"*\""));
  // In an order it is a character like any other.
  EXPECT_FALSE(Matches("color < \"*\""));
}

TEST_F(ItemFilterTest, DotsLeadIntoObjects) {
  EXPECT_TRUE(Matches("maker.name = Anna"));
  EXPECT_TRUE(Matches("maker.address.city = \"Bern\""));
  EXPECT_TRUE(Matches("payload.maker.name = Anna"));
  EXPECT_TRUE(Matches("\"my field\" = spaced"));
  EXPECT_TRUE(Matches("payload.'my field' = spaced"));
  EXPECT_TRUE(Matches("payload.AND = 1"));
  EXPECT_FALSE(Matches("maker = Anna"));
  // Through lists leads has alone.
  EXPECT_FALSE(Matches("parts.kind = wheel"));
  EXPECT_TRUE(Matches("parts.kind:wheel"));
  EXPECT_FALSE(Matches("parts.kind:window"));
  EXPECT_TRUE(Matches("parts.sizes:2"));
}

TEST_F(ItemFilterTest, Has) {
  EXPECT_TRUE(Matches("tags:red AND tags:42 AND tags:true AND tags:\"Gr*e\""));
  EXPECT_FALSE(Matches("tags:blue OR tags:\"42\" OR tags:re"));
  EXPECT_FALSE(Matches("tags = red"));
  EXPECT_TRUE(Matches("tags != red"));
  EXPECT_TRUE(Matches("tags:null"));
  EXPECT_TRUE(Matches("deep:inside"));
  EXPECT_TRUE(Matches("maker:name AND maker:null"));
  EXPECT_FALSE(Matches("maker:Anna"));
  EXPECT_TRUE(Matches("parts:kind"));
  EXPECT_TRUE(Matches("color:red AND size:3"));
  EXPECT_TRUE(Matches("maker.name:*"));
  EXPECT_TRUE(Matches("empty:* AND tags:*"));
  EXPECT_FALSE(Matches("note:* OR missing:* OR maker.null:*"));
  EXPECT_FALSE(Matches("empty:red"));
}

TEST_F(ItemFilterTest, ReservedFields) {
  EXPECT_TRUE(Matches("id = \"img-7#2\""));
  EXPECT_TRUE(Matches("id = img-7#* AND id > img-6"));
  EXPECT_TRUE(Matches("payload.id = inner"));
  EXPECT_TRUE(Matches("uri = \"https://*.png\" AND uri:*"));
  EXPECT_TRUE(Matches("text = \"*cross*heart\""));
  EXPECT_TRUE(Matches("image_id = img-7"));
  EXPECT_FALSE(Matches("image_id != img-7"));

  // In an image they are the payload's.
  const json payload = {{"text", "front"}, {"image_id", {{"a", 1}}}};
  const FilterSubject image = {.id = "1", .payload = &payload};
  EXPECT_TRUE(Matches("text = front AND image_id.a = 1", image));
}

TEST_F(ItemFilterTest, Times) {
  EXPECT_TRUE(Matches("create_time = \"2026-01-31T12:00:00Z\""));
  EXPECT_TRUE(Matches("create_time = 2026-01-31T13:00:00+01:00"));
  EXPECT_TRUE(Matches("create_time > 2026-01-31 AND create_time < '2026-02-01'"));
  EXPECT_TRUE(Matches("update_time >= 2026-02-01 AND update_time:* AND update_time != null"));
  EXPECT_FALSE(Matches("update_time > \"2026-02-01T00:00:00.000001Z\""));
  EXPECT_THAT(ItemFilter::Parse("a = 1 create_time > yesterday"),
              StatusIs(kInvalid, AllOf(HasSubstr("at character 21:"), HasSubstr("RFC 3339"))));
  EXPECT_THAT(ItemFilter::Parse("create_time = infinite-past"),
              StatusIs(kInvalid, HasSubstr("RFC 3339")));
}

TEST_F(ItemFilterTest, OrBindsTighterThanAnd) {
  // (no) AND (yes OR yes), not (no AND yes) OR yes.
  EXPECT_FALSE(Matches("color = blue AND size = 3 OR size = 3"));
  EXPECT_TRUE(Matches("(color = blue AND size = 3) OR size = 3"));
  EXPECT_TRUE(Matches("size = 4 OR size = 3 AND color = blue OR color = red"));
}

TEST_F(ItemFilterTest, SequencesAndNegation) {
  EXPECT_TRUE(Matches("color = red size = 3"));
  EXPECT_FALSE(Matches("color = red size = 4"));
  EXPECT_FALSE(Matches("color = blue size = 3 OR size = 3"));
  EXPECT_TRUE(Matches("NOT color = blue"));
  EXPECT_TRUE(Matches("-color = blue -size = 4"));
  EXPECT_FALSE(Matches("-(color = red)"));
  EXPECT_FALSE(Matches("NOT (color = red OR size = 4)"));
  EXPECT_TRUE(Matches("NOT(color = blue)AND size = 3"));
  EXPECT_TRUE(Matches("color = blue OR NOT size = 4"));
}

TEST_F(ItemFilterTest, ParenthesisedValues) {
  EXPECT_TRUE(Matches("color = (blue OR red)"));
  EXPECT_FALSE(Matches("color = (blue OR green)"));
  EXPECT_TRUE(Matches("tags:(red AND 42)"));
  EXPECT_TRUE(Matches("tags:(red 42 -blue)"));
  EXPECT_FALSE(Matches("tags:(red AND NOT 42)"));
  EXPECT_TRUE(Matches("size > (-1 AND (2 OR 9))"));
  EXPECT_EQ(Canonical("color = (blue OR red)"), Canonical("color=red OR color=blue"));
}

TEST_F(ItemFilterTest, AValueAloneIsLookedForEverywhere) {
  EXPECT_TRUE(Matches("cross"));
  EXPECT_TRUE(Matches("\"left of\""));
  EXPECT_TRUE(Matches("Anna Bern 42"));
  EXPECT_TRUE(Matches("true"));
  EXPECT_TRUE(Matches("2.5"));
  EXPECT_TRUE(Matches("img-7 AND x.example"));
  EXPECT_TRUE(Matches("red*heart"));
  EXPECT_TRUE(Matches("*"));
  EXPECT_FALSE(Matches("heart*red*cross"));
  EXPECT_FALSE(Matches("circle"));
  EXPECT_TRUE(Matches("-circle"));
  EXPECT_FALSE(Matches("null"));
}

TEST_F(ItemFilterTest, CanonicalFormIsOneForFiltersOfOneMeaning) {
  EXPECT_EQ(Canonical("a=1 AND b:2"), Canonical(" ( b : 2 )   a = 1 "));
  EXPECT_EQ(Canonical("a = 1 OR (b = 2 OR a = 1)"), Canonical("b=2 OR a=1"));
  EXPECT_EQ(Canonical("-a = 1"), Canonical("NOT (a=1)"));
  EXPECT_EQ(Canonical("payload.a = 1"), Canonical("a = 1"));
  const std::vector<std::string> different = {"a",
                                              "a = 1",
                                              "a = \"1\"",
                                              "a != 1",
                                              "a:1",
                                              "-a = 1",
                                              "a.b = 1",
                                              "b = 1",
                                              "\"a.b\" = 1",
                                              "a = 1 b = 1",
                                              "a = 1 OR b = 1",
                                              "a = *",
                                              "a = \"*\"",
                                              "a = \"\\*\"",
                                              "id = 1",
                                              "payload.id = 1",
                                              "a = 1 AND (a = 1 OR b = 1)"};
  for (size_t i = 0; i < different.size(); ++i) {
    for (size_t k = i + 1; k < different.size(); ++k) {
      EXPECT_NE(Canonical(different[i]), Canonical(different[k]))
          << different[i] << " and " << different[k];
    }
  }
}

TEST_F(ItemFilterTest, ErrorsNameThePlace) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"color =", "at character 8: a value is missing after \"=\""},
      {"color = AND b = 1", "at character 9: a value is missing"},
      {"= 5", "at character 1: a field or a value is missing before \"=\""},
      {"größe == 5", "at character 8: write \"=\" instead of \"==\""},
      {"a = 1 && b = 2", "at character 7: write AND"},
      {"a = 1 || b = 2", "at character 7: write OR"},
      {"!a", "at character 1: write NOT"},
      {"a = 1 and b = 2", "at character 7: write AND in capitals"},
      {"a = 1 AND", "at character 10: a field or a value is missing"},
      {"OR a = 1", "at character 1: a field or a value is missing before OR"},
      {"(a = 1", "at character 1: there is no \")\" for this \"(\""},
      {"a = 1)", "at character 6: there is no \"(\" for this \")\""},
      {"()", "at character 2: there is nothing between"},
      {"a = \"open", "at character 5: the string that begins here has no end"},
      {"a = \"\\x\"", "at character 6: after \"\\\" comes"},
      {"a. = 1", "at character 3: a field's name is missing"},
      {"size(a) > 1", "at character 1: there is no function \"size\""},
      {"a = size(b)", "at character 9: unexpected \"(\" after a value"},
      {"a = \"b\".c", "at character 8: unexpected \".\" after a value"},
      {"a\"b\"", "at character 2: unexpected"},
      {"a = [1]", "at character 5: a value is missing before \"[\""},
      {"id.x = 1",
       "at character 1: \"id\" has no fields; a field of the payload with this name is "
       "payload.id"},
      {"a = (b = c)", "at character 8: a value is missing before \"=\""},
      {"- a", "at character 2: a field or a value is missing"},
      {"\"\"", "at character 1: an empty string"},
      {"\"a\".b", "at character 6: an operator is missing"},
      {"a = *1*2*3*4*5*6*7*8*9", "at character 5: the value has more than 8 wildcards"},
  };
  for (const auto& [text, message] : cases) {
    EXPECT_THAT(ItemFilter::Parse(text), StatusIs(kInvalid, StartsWith(message))) << text;
  }
  EXPECT_THAT(ItemFilter::Parse("\xff"), StatusIs(kInvalid, HasSubstr("UTF-8")));
}

TEST_F(ItemFilterTest, HostileFiltersAreRefused) {
  EXPECT_THAT(ItemFilter::Parse(std::string(4097, 'a')),
              StatusIs(kInvalid, HasSubstr("4097 bytes; at most 4096")));
  const auto nested = [](int depth) {
    return absl::StrCat(std::string(depth, '('), "a", std::string(depth, ')'));
  };
  EXPECT_THAT(ItemFilter::Parse(nested(32)), IsOk());
  EXPECT_THAT(ItemFilter::Parse(nested(33)),
              StatusIs(kInvalid, HasSubstr("at character 33: parentheses are nested deeper than")));
  EXPECT_THAT(ItemFilter::Parse(std::string(4000, '(')),
              StatusIs(kInvalid, HasSubstr("nested deeper")));
  EXPECT_THAT(ItemFilter::Parse("a=" + std::string(4000, '(')),
              StatusIs(kInvalid, HasSubstr("nested deeper")));
  std::string many;
  for (int i = 0; i < 257; ++i) many += "a=1 ";
  EXPECT_THAT(ItemFilter::Parse(many), StatusIs(kInvalid, HasSubstr("more than 256 comparisons")));
  std::string path = "a";
  for (int i = 0; i < 16; ++i) path += ".a";
  EXPECT_THAT(ItemFilter::Parse(path + " = 1"),
              StatusIs(kInvalid, HasSubstr("more than 16 names")));
}

TEST_F(ItemFilterTest, ACopyIsTheSame) {
  ItemFilter copy;
  {
    ASSERT_OK_AND_ASSIGN(const ItemFilter filter, ItemFilter::Parse("color = red"));
    copy = filter;
  }
  EXPECT_TRUE(copy.Matches(caption_));
  EXPECT_FALSE(copy.Matches(FilterSubject()));
}

}  // namespace
}  // namespace dime
