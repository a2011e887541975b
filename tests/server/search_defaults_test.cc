#include "server/search_defaults.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_model.h"

namespace dime {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr int kDeviceDepth = 50;

class SearchDefaultsTest : public ::testing::Test {
 protected:
  SearchDefaultsTest() {
    settings_.gallery_version = gallery_.lineage;
    settings_.model_fingerprint = model_.info().fingerprint;
    settings_.of(Modality::kImage) = {
        .rerank_depth = 40, .search_effort = 16, .k = 10, .recall = 0.991, .p99_ms = 23.5};
    settings_.of(Modality::kCaption) = {
        .rerank_depth = 120, .search_effort = 32, .k = 10, .recall = 0.993, .p99_ms = 61};
  }
  SearchDefaults Choose(const absl::StatusOr<SearchSettings>& settings,
                        const SearchDefaults::Flags& flags = {}) const {
    return SearchDefaults::Choose(limits_, flags, settings, gallery_, model_.info(), kDeviceDepth);
  }
  static void ExpectDeviceDefaults(const SearchDefaults& defaults) {
    for (Modality target : {Modality::kImage, Modality::kCaption}) {
      EXPECT_EQ(defaults.limits.DefaultRerankDepth(target), kDeviceDepth);
      EXPECT_EQ(defaults.limits.DefaultSearchEffort(target), 0);
    }
  }

  FakeModel model_;
  const GalleryInfo gallery_ = {.name = "gallery", .version = "v7", .lineage = "v7"};
  SearchLimits limits_;
  SearchSettings settings_;
};

TEST_F(SearchDefaultsTest, TakesWhatWasTunedForThisGalleryAndModel) {
  const SearchDefaults defaults = Choose(settings_);
  EXPECT_EQ(defaults.limits.DefaultRerankDepth(Modality::kImage), 40);
  EXPECT_EQ(defaults.limits.DefaultSearchEffort(Modality::kImage), 16);
  EXPECT_EQ(defaults.limits.DefaultRerankDepth(Modality::kCaption), 120);
  EXPECT_EQ(defaults.limits.DefaultSearchEffort(Modality::kCaption), 32);
  EXPECT_EQ(defaults.limits.max_top_k, limits_.max_top_k);
  EXPECT_THAT(defaults.warnings, IsEmpty());
  EXPECT_THAT(defaults.description,
              AllOf(HasSubstr("images: rerank depth 40, search effort 16 (from "
                              "search_settings.json: 99.1% of the exhaustive top 10, p99 23.5 ms)"),
                    HasSubstr("captions: rerank depth 120, search effort 32")));
}

TEST_F(SearchDefaultsTest, GoesByTheDeviceWhereNothingWasTuned) {
  const SearchDefaults defaults = Choose(absl::NotFoundError("no such file"));
  ExpectDeviceDefaults(defaults);
  EXPECT_THAT(defaults.warnings, IsEmpty());
  EXPECT_THAT(defaults.description, AllOf(HasSubstr("50 (by device"), HasSubstr("dime_tune")));
  limits_.max_rerank_depth = 20;
  EXPECT_EQ(Choose(absl::NotFoundError("")).limits.DefaultRerankDepth(Modality::kCaption), 20);
}

TEST_F(SearchDefaultsTest, WarnsOfSettingsThatDoNotFitAndIgnoresThem) {
  SearchSettings other_gallery = settings_;
  other_gallery.gallery_version = "v6";
  const SearchDefaults defaults = Choose(other_gallery);
  ExpectDeviceDefaults(defaults);
  EXPECT_THAT(defaults.warnings,
              ElementsAre(AllOf(HasSubstr("not used"), HasSubstr("v6"), HasSubstr("v7"))));
  SearchSettings other_model = settings_;
  other_model.model_fingerprint = "another";
  ExpectDeviceDefaults(Choose(other_model));
  EXPECT_THAT(Choose(other_model).warnings, ElementsAre(HasSubstr("another")));
}

TEST_F(SearchDefaultsTest, WarnsOfADamagedFileAndIgnoresIt) {
  const SearchDefaults defaults = Choose(absl::InvalidArgumentError("x.json: \"k\" is missing"));
  ExpectDeviceDefaults(defaults);
  EXPECT_THAT(defaults.warnings, ElementsAre(HasSubstr("x.json: \"k\" is missing")));
}

TEST_F(SearchDefaultsTest, DropsTheKindWhoseOrderHasChanged) {
  settings_.of(Modality::kImage)->fusion_weight = 0.25f;
  const SearchDefaults defaults = Choose(settings_);
  EXPECT_EQ(defaults.limits.DefaultRerankDepth(Modality::kImage), kDeviceDepth);
  EXPECT_EQ(defaults.limits.DefaultRerankDepth(Modality::kCaption), 120);
  EXPECT_THAT(defaults.warnings,
              ElementsAre(AllOf(HasSubstr("images"), HasSubstr("fusion weight 0.25"))));
  settings_.of(Modality::kCaption)->mode = ScoreMode::kI2t;
  EXPECT_EQ(Choose(settings_).warnings.size(), 2u);
}

TEST_F(SearchDefaultsTest, FlagsGoFirst) {
  SearchDefaults defaults = Choose(settings_, {.rerank_depth = 77});
  EXPECT_EQ(defaults.limits.DefaultRerankDepth(Modality::kImage), 77);
  EXPECT_EQ(defaults.limits.DefaultRerankDepth(Modality::kCaption), 77);
  EXPECT_EQ(defaults.limits.DefaultSearchEffort(Modality::kImage), 16);
  EXPECT_THAT(defaults.description, HasSubstr("by flag"));

  defaults = Choose(settings_, {.caption_rerank_depth = 88, .search_effort = 3});
  EXPECT_EQ(defaults.limits.DefaultRerankDepth(Modality::kImage), 40);
  EXPECT_EQ(defaults.limits.DefaultRerankDepth(Modality::kCaption), 88);
  EXPECT_EQ(defaults.limits.DefaultSearchEffort(Modality::kImage), 3);
  EXPECT_EQ(defaults.limits.DefaultSearchEffort(Modality::kCaption), 3);
  defaults = Choose(settings_, {.search_effort = 3, .caption_search_effort = 5});
  EXPECT_EQ(defaults.limits.DefaultSearchEffort(Modality::kCaption), 5);
  EXPECT_THAT(defaults.description, Not(HasSubstr("p99")));
}

TEST_F(SearchDefaultsTest, ATunedDepthIsCutToTheLimitAloud) {
  limits_.max_rerank_depth = 100;
  limits_.max_search_effort = 20;
  const SearchDefaults defaults = Choose(settings_);
  EXPECT_EQ(defaults.limits.DefaultRerankDepth(Modality::kCaption), 100);
  EXPECT_EQ(defaults.limits.DefaultSearchEffort(Modality::kCaption), 20);
  EXPECT_THAT(defaults.warnings, ElementsAre(AllOf(HasSubstr("captions"), HasSubstr("120"))));
}

}  // namespace
}  // namespace dime
