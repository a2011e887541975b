#include "index/search_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "absl/strings/str_replace.h"
#include "tests/index/file_fixtures.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using testing::AllOf;
using testing::HasSubstr;

SearchSettings Sample() {
  SearchSettings settings;
  settings.gallery_version = "0123456789abcdef";
  settings.model_fingerprint = "feedfacefeedfacefeedface";
  settings.measured_on = "cpu";
  settings.of(Modality::kImage) = {.rerank_depth = 70,
                                   .search_effort = 16,
                                   .k = 10,
                                   .recall = 0.9925,
                                   .median_ms = 12.5,
                                   .p99_ms = 31,
                                   .queries = 200,
                                   .mode = ScoreMode::kT2i,
                                   .fusion_weight = 0.25f};
  return settings;
}

class SearchSettingsTest : public testing::Test {
 protected:
  const std::string directory_ = FreshDirectory();
  const std::string path_ = directory_ + "/search_settings.json";
};

TEST_F(SearchSettingsTest, KeepsWhatWasSaved) {
  ASSERT_THAT(Sample().Save(directory_), IsOk());
  EXPECT_FALSE(Exists(path_ + ".part"));
  ASSERT_OK_AND_ASSIGN(const SearchSettings loaded, SearchSettings::Load(directory_));
  EXPECT_EQ(loaded.gallery_version, "0123456789abcdef");
  EXPECT_EQ(loaded.model_fingerprint, "feedfacefeedfacefeedface");
  EXPECT_EQ(loaded.measured_on, "cpu");
  ASSERT_TRUE(loaded.of(Modality::kImage).has_value());
  EXPECT_FALSE(loaded.of(Modality::kCaption).has_value());
  const SearchSettings::Entry& entry = *loaded.of(Modality::kImage);
  EXPECT_EQ(entry.rerank_depth, 70);
  EXPECT_EQ(entry.search_effort, 16);
  EXPECT_EQ(entry.k, 10);
  EXPECT_EQ(entry.recall, 0.9925);
  EXPECT_EQ(entry.median_ms, 12.5);
  EXPECT_EQ(entry.p99_ms, 31);
  EXPECT_EQ(entry.queries, 200);
  EXPECT_EQ(entry.mode, ScoreMode::kT2i);
  EXPECT_EQ(entry.fusion_weight, 0.25f);
}

TEST_F(SearchSettingsTest, AGalleryWithoutThemIsNotFound) {
  EXPECT_THAT(SearchSettings::Load(directory_),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr(path_)));
}

TEST_F(SearchSettingsTest, FitsItsGalleryAndModelAlone) {
  const SearchSettings settings = Sample();
  EXPECT_THAT(settings.CheckFits(settings.gallery_version, settings.model_fingerprint), IsOk());
  constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;
  EXPECT_THAT(
      settings.CheckFits("fedcba9876543210", settings.model_fingerprint),
      StatusIs(kPrecondition, AllOf(HasSubstr("0123456789abcdef"), HasSubstr("fedcba9876543210"),
                                    HasSubstr("dime_tune"))));
  EXPECT_THAT(settings.CheckFits(settings.gallery_version, "abc"),
              StatusIs(kPrecondition, AllOf(HasSubstr("model feedfacefeed,"), HasSubstr("abc"),
                                            HasSubstr("dime_tune"))));
}

TEST_F(SearchSettingsTest, NamesTheFieldAtFault) {
  ASSERT_THAT(Sample().Save(directory_), IsOk());
  const std::string whole = ReadFile(path_);
  const std::pair<const char*, const char*> kChanges[] = {
      {"\"rerank_depth\": 70", "\"rerank_depth\": 0"},
      {"\"rerank_depth\": 70", "\"rerank_depth\": 70.5"},
      {"\"search_effort\": 16", "\"search_effort\": -1"},
      {"\"recall\": 0.9925", "\"recall\": 1.5"},
      {"\"p99_ms\": 31.0", "\"p99_ms\": \"31\""},
      {"\"queries\": 200", "\"questions\": 200"},
      {"\"score_mode\": \"t2i\"", "\"score_mode\": \"t3i\""},
      {"\"fusion_weight\": 0.25", "\"fusion_weight\": null"},
      {"\"gallery_version\": \"0123456789abcdef\"", "\"gallery_version\": 7"},
      {"\"format\": \"dime-search-settings\"", "\"format\": \"other\""},
      {"\"format_version\": 1", "\"format_version\": 2"}};
  for (const auto& [from, to] : kChanges) {
    ASSERT_THAT(whole, HasSubstr(from));
    WriteFile(path_, absl::StrReplaceAll(whole, {{from, to}}));
    std::string field(from + 1);
    field.resize(field.find('"'));
    if (field == "format_version") field = "format version";
    EXPECT_THAT(SearchSettings::Load(directory_),
                StatusIs(kInvalid, AllOf(HasSubstr(path_), HasSubstr(field),
                                         HasSubstr("run dime_tune again"))))
        << to;
  }
}

TEST_F(SearchSettingsTest, DamageIsAnErrorThatNamesTheFileOrChangesNothingElse) {
  ASSERT_THAT(Sample().Save(directory_), IsOk());
  ForEachDamage(ReadFile(path_), 150, [&](const std::string& damaged, const std::string& what) {
    WriteFile(path_, damaged);
    const absl::StatusOr<SearchSettings> loaded = SearchSettings::Load(directory_);
    if (loaded.ok()) return;  // a digit of a number, or white space
    EXPECT_THAT(loaded, StatusIs(kInvalid, HasSubstr(path_))) << what;
  });
  for (const char* text : {"", "[]", "null", "{}", "\xff"}) {
    WriteFile(path_, text);
    EXPECT_THAT(SearchSettings::Load(directory_), StatusIs(kInvalid, HasSubstr(path_))) << text;
  }
}

}  // namespace
}  // namespace dime
