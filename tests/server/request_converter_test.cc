#include "server/request_converter.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/error_details.h"
#include "tests/fakes/error_details.h"
#include "tests/fakes/fake_gallery.h"
#include "tests/fakes/fake_model.h"

namespace dime {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

constexpr SearchLimits kLimits = {.max_top_k = 50,
                                  .max_rerank_depth = 200,
                                  .default_rerank_depth = 30,
                                  .max_exact_items = 8,
                                  .max_text_characters = 20,
                                  .max_search_effort = 64};

class RequestConverterTest : public ::testing::Test {
 protected:
  template <typename Request>
  absl::StatusOr<SearchRequest> Convert(const Request& request,
                                        const SearchLimits& limits = kLimits) const {
    return RequestConverter(limits, model_.info()).Convert(request, gallery_);
  }

  // Expects one violation, of this field and reason, whose description has these words.
  template <typename Request>
  void ExpectViolation(const Request& request, const std::string& field, const std::string& reason,
                       const std::string& words) const {
    const auto converted = Convert(request);
    ASSERT_EQ(converted.status().code(), absl::StatusCode::kInvalidArgument);
    const ErrorDetails details =
        ParseErrorDetails(ToGrpcStatus(converted.status(), absl::Seconds(1)));
    EXPECT_EQ(details.reason, reason);
    ASSERT_THAT(details.Fields(), ElementsAre(field)) << converted.status();
    EXPECT_THAT(details.violations[0].second, HasSubstr(words));
  }

  static v1::SearchImagesRequest Text(const std::string& text) {
    v1::SearchImagesRequest request;
    request.set_text(text);
    return request;
  }

  static v1::SearchCaptionsRequest Features() {
    v1::SearchCaptionsRequest request;
    request.mutable_features()->set_num_regions(kFakeNumRegions);
    request.mutable_features()->set_feature_dim(kFakeFeatureDim);
    for (float value : FakeRegionFeatures(3)) request.mutable_features()->add_values(value);
    return request;
  }

  FakeModel model_;
  FakeGallery gallery_{{.num_images = 5, .captions = FakeCaptions(12)}};
};

TEST_F(RequestConverterTest, FillsInDefaults) {
  const auto converted = Convert(Text("red star"));
  ASSERT_TRUE(converted.ok()) << converted.status();
  EXPECT_EQ(std::get<TextQuery>(converted->query).text, "red star");
  const SearchOptions& options = converted->options;
  EXPECT_EQ(options.top_k, 10);
  EXPECT_EQ(options.rerank_depth, 30);
  EXPECT_FALSE(options.exact);
  EXPECT_EQ(options.mode, ScoreMode::kEnsemble);
  EXPECT_FALSE(options.want_paths);
  EXPECT_EQ(options.search_effort, 0);
  EXPECT_FALSE(converted->want.details);
}

TEST_F(RequestConverterTest, TakesWhatIsGiven) {
  v1::SearchCaptionsRequest request = Features();
  request.mutable_options()->set_top_k(50);
  request.mutable_options()->set_rerank_depth(200);
  request.mutable_options()->set_score_mode(v1::SCORE_MODE_T2I);
  request.mutable_options()->set_view(v1::RESULT_VIEW_EXPLAIN);
  request.mutable_options()->set_search_effort(64);
  const auto converted = Convert(request);
  ASSERT_TRUE(converted.ok()) << converted.status();
  const auto& query = std::get<RegionFeaturesQuery>(converted->query);
  EXPECT_EQ(query.num_regions, kFakeNumRegions);
  EXPECT_THAT(query.values, ElementsAreArray(FakeRegionFeatures(3)));
  EXPECT_EQ(converted->options.top_k, 50);
  EXPECT_EQ(converted->options.rerank_depth, 200);
  EXPECT_EQ(converted->options.mode, ScoreMode::kT2i);
  EXPECT_TRUE(converted->options.want_paths);
  EXPECT_TRUE(converted->want.details);
  EXPECT_EQ(converted->options.search_effort, 64);
}

TEST_F(RequestConverterTest, TheDefaultDepthIsAtLeastTopK) {
  v1::SearchImagesRequest request = Text("red");
  request.mutable_options()->set_top_k(45);
  EXPECT_EQ(Convert(request)->options.rerank_depth, 45);
}

TEST_F(RequestConverterTest, AGalleryImageBecomesItsRow) {
  v1::SearchCaptionsRequest request;
  request.set_image_id("image-3");
  request.mutable_options()->set_view(v1::RESULT_VIEW_FULL);
  const auto converted = Convert(request);
  ASSERT_TRUE(converted.ok()) << converted.status();
  EXPECT_EQ(std::get<GalleryImageQuery>(converted->query).row, 3);
  EXPECT_TRUE(converted->want.details);
  EXPECT_FALSE(converted->options.want_paths);
}

TEST_F(RequestConverterTest, Texts) {
  for (const char* blank : {"", "   ", "\t\n", "\xc2\xa0\xe3\x80\x80"}) {
    ExpectViolation(Text(blank), "text", "TEXT_EMPTY", "more than white space");
  }
  // Characters, not bytes.
  std::string stars;
  for (int i = 0; i < 20; ++i) stars += "\xe2\x98\x85";
  EXPECT_TRUE(Convert(Text(stars)).ok());
  ExpectViolation(Text(stars + "x"), "text", "TEXT_TOO_LONG", "at most 20 characters, got 21");
  std::string words;
  for (int i = 0; i < 10000; ++i) words += "word ";
  ExpectViolation(Text(words), "text", "TEXT_TOO_LONG", "got 50000");
  ExpectViolation(Text("a\xff"), "text", "TEXT_NOT_UTF8", "valid UTF-8");
}

TEST_F(RequestConverterTest, TopK) {
  for (int bad : {0, -1, 51, 1000000, std::numeric_limits<int>::min()}) {
    v1::SearchImagesRequest request = Text("red");
    request.mutable_options()->set_top_k(bad);
    ExpectViolation(request, "options.top_k", "VALUE_OUT_OF_RANGE",
                    "must be 1 to 50, got " + std::to_string(bad));
  }
}

TEST_F(RequestConverterTest, RerankDepth) {
  for (int bad : {0, -7, 19, 201, std::numeric_limits<int>::max()}) {
    v1::SearchImagesRequest request = Text("red");
    request.mutable_options()->set_top_k(20);
    request.mutable_options()->set_rerank_depth(bad);
    ExpectViolation(request, "options.rerank_depth", "VALUE_OUT_OF_RANGE", "must be 20 to 200");
  }
  v1::SearchImagesRequest request = Text("red");
  request.mutable_options()->set_top_k(20);
  request.mutable_options()->set_rerank_depth(20);
  EXPECT_TRUE(Convert(request).ok());
}

TEST_F(RequestConverterTest, ExactAndDepthConflict) {
  v1::SearchImagesRequest request = Text("red");
  request.mutable_options()->set_exact(true);
  EXPECT_TRUE(Convert(request)->options.exact);
  request.mutable_options()->set_rerank_depth(100);
  ExpectViolation(request, "options.rerank_depth", "FIELDS_CONFLICT", "options.exact");
}

TEST_F(RequestConverterTest, ExactHasALimitOfItems) {
  v1::SearchCaptionsRequest request = Features();
  request.mutable_options()->set_exact(true);
  ExpectViolation(request, "options.exact", "VALUE_OUT_OF_RANGE",
                  "at most 8 captions; it holds 12");
}

TEST_F(RequestConverterTest, SearchEffort) {
  for (int bad : {0, 65, -1}) {
    v1::SearchImagesRequest request = Text("red");
    request.mutable_options()->set_search_effort(bad);
    ExpectViolation(request, "options.search_effort", "VALUE_OUT_OF_RANGE", "must be 1 to 64");
  }
}

TEST_F(RequestConverterTest, UnknownEnumerators) {
  v1::SearchImagesRequest request = Text("red");
  request.mutable_options()->set_score_mode(static_cast<v1::ScoreMode>(17));
  ExpectViolation(request, "options.score_mode", "VALUE_OUT_OF_RANGE", "got 17");
  request = Text("red");
  request.mutable_options()->set_view(static_cast<v1::ResultView>(17));
  ExpectViolation(request, "options.view", "VALUE_OUT_OF_RANGE", "got 17");
}

TEST_F(RequestConverterTest, ADirectionThatTheModelLacks) {
  model_.mutable_info().directions[static_cast<int>(Direction::kT2i)].embed_size = 0;
  EXPECT_EQ(Convert(Text("red"))->options.mode, ScoreMode::kI2t);
  for (v1::ScoreMode mode : {v1::SCORE_MODE_T2I, v1::SCORE_MODE_ENSEMBLE}) {
    v1::SearchImagesRequest request = Text("red");
    request.mutable_options()->set_score_mode(mode);
    ExpectViolation(request, "options.score_mode", "SCORE_MODE_UNAVAILABLE",
                    "must be SCORE_MODE_I2T with this model");
  }
}

TEST_F(RequestConverterTest, AnImageMustBeGiven) {
  v1::SearchCaptionsRequest request;
  ExpectViolation(request, "image_id", "IMAGE_MISSING", "got neither");
  request.set_image_id("");
  ExpectViolation(request, "image_id", "IMAGE_MISSING", "empty");
}

TEST_F(RequestConverterTest, FeatureShapes) {
  v1::SearchCaptionsRequest request = Features();
  request.mutable_features()->set_num_regions(36);
  ExpectViolation(request, "features.num_regions", "FEATURE_SHAPE_MISMATCH",
                  "must be 3 for this model, got 36");
  request = Features();
  request.mutable_features()->set_feature_dim(-2147483647);
  ExpectViolation(request, "features.feature_dim", "FEATURE_SHAPE_MISMATCH", "must be 5");
  request = Features();
  request.mutable_features()->mutable_values()->RemoveLast();
  ExpectViolation(request, "features.values", "FEATURE_SHAPE_MISMATCH",
                  "3 x 5 = 15 values, got 14");
}

TEST_F(RequestConverterTest, FeaturesMustBeFinite) {
  for (float bad : {std::nanf(""), std::numeric_limits<float>::infinity(),
                    -std::numeric_limits<float>::infinity()}) {
    v1::SearchCaptionsRequest request = Features();
    request.mutable_features()->set_values(4, bad);
    request.mutable_features()->set_values(9, bad);
    ExpectViolation(request, "features.values[4]", "FEATURE_NOT_FINITE", "must be finite, got");
  }
}

TEST_F(RequestConverterTest, ReportsAllViolationsAtOnce) {
  v1::SearchCaptionsRequest request = Features();
  request.mutable_features()->set_num_regions(0);
  request.mutable_features()->clear_values();
  request.mutable_options()->set_top_k(0);
  request.mutable_options()->set_rerank_depth(-1);
  request.mutable_options()->set_exact(true);
  request.mutable_options()->set_search_effort(0);
  const auto converted = Convert(request);
  EXPECT_THAT(ParseErrorDetails(ToGrpcStatus(converted.status(), absl::Seconds(1))).Fields(),
              ElementsAre("features.num_regions", "features.values", "options.top_k",
                          "options.rerank_depth", "options.exact", "options.search_effort"));
  EXPECT_THAT(converted.status().message(),
              AllOf(HasSubstr("options.top_k: must be 1 to 50, got 0"),
                    HasSubstr("options.search_effort: must be 1 to 64, got 0")));
}

TEST_F(RequestConverterTest, AnUnknownImageIsNotFound) {
  v1::SearchCaptionsRequest request;
  request.set_image_id("image-99");
  const auto converted = Convert(request);
  EXPECT_EQ(converted.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(converted.status().message(), HasSubstr("image-99"));
  // What is wrong with the request comes first.
  request.mutable_options()->set_top_k(0);
  EXPECT_EQ(Convert(request).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(RequestConverterTest, NothingToSearch) {
  const FakeGallery empty({.num_images = 5});
  const RequestConverter converter(kLimits, model_.info());
  EXPECT_TRUE(converter.Convert(Text("red"), empty).ok());
  EXPECT_EQ(converter.Convert(Features(), empty).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(RequestConverterTest, BlamesTheQuerysField) {
  const absl::Status fault = absl::InvalidArgumentError("too large");
  const auto details = [](const absl::Status& status) {
    return ParseErrorDetails(ToGrpcStatus(status, absl::Seconds(1)));
  };
  EXPECT_THAT(details(BlameQuery(fault, RegionFeaturesQuery())).Fields(),
              ElementsAre("features.values"));
  EXPECT_THAT(details(BlameQuery(fault, TextQuery())).Fields(), ElementsAre("text"));
  EXPECT_EQ(BlameQuery(absl::InternalError("x"), TextQuery()), absl::InternalError("x"));
}

TEST_F(RequestConverterTest, TheCoarseScoresShareIsTheModelsUnlessGiven) {
  model_.mutable_info().ranking.of(Modality::kImage,
                                   ScoreMode::kEnsemble) = {.fusion_weight = 0.25f};
  model_.mutable_info().ranking.of(Modality::kCaption, ScoreMode::kI2t) = {.fusion_weight = 0.5f};
  v1::SearchImagesRequest text = Text("red star");
  v1::SearchCaptionsRequest features = Features();
  EXPECT_EQ(Convert(text)->options.fusion_weight, 0.25f);
  EXPECT_EQ(Convert(features)->options.fusion_weight, 0);  // of the ensemble: not tuned
  features.mutable_options()->set_score_mode(v1::SCORE_MODE_I2T);
  EXPECT_EQ(Convert(features)->options.fusion_weight, 0.5f);
  for (float given : {0.0f, 0.75f, 1.0f}) {
    text.mutable_options()->set_fusion_weight(given);
    EXPECT_EQ(Convert(text)->options.fusion_weight, given);
  }
  for (float wrong : {-0.01f, 1.01f, std::nanf(""), std::numeric_limits<float>::infinity()}) {
    text.mutable_options()->set_fusion_weight(wrong);
    ExpectViolation(text, "options.fusion_weight", "VALUE_OUT_OF_RANGE", "must be 0 to 1, got ");
  }
}

TEST_F(RequestConverterTest, AdaptiveDepthGoesByTheModelsBound) {
  v1::SearchImagesRequest request = Text("red star");
  request.mutable_options()->set_adaptive_depth(true);
  EXPECT_FALSE(Convert(request)->options.score_bound.has_value());  // none was calibrated

  model_.mutable_info().ranking.of(Modality::kImage, ScoreMode::kEnsemble) = {
      .fusion_weight = 0.5f, .bound = ScoreBound{.slope = 0.75f, .intercept = 0.125f}};
  const std::optional<ScoreBound> bound = Convert(request)->options.score_bound;
  ASSERT_TRUE(bound.has_value());
  EXPECT_EQ(bound->slope, 0.75f);
  EXPECT_EQ(bound->intercept, 0.125f);
  // Another weight has another bound; see BoundAt().
  request.mutable_options()->set_fusion_weight(0);
  EXPECT_EQ(Convert(request)->options.score_bound->intercept, 0.25f);
  request.mutable_options()->clear_adaptive_depth();
  EXPECT_FALSE(Convert(request)->options.score_bound.has_value());
}

TEST_F(RequestConverterTest, AdaptiveDepthContradictsExactSearch) {
  v1::SearchImagesRequest request = Text("red star");
  request.mutable_options()->set_exact(true);
  request.mutable_options()->set_fusion_weight(0.5f);  // which is allowed
  EXPECT_TRUE(Convert(request).ok());
  request.mutable_options()->set_adaptive_depth(true);
  ExpectViolation(request, "options.adaptive_depth", "FIELDS_CONFLICT", "options.exact");
}

TEST_F(RequestConverterTest, EachSearchHasDefaultsOfItsOwn) {
  SearchLimits limits = kLimits;
  limits.default_caption_rerank_depth = 70;
  limits.default_search_effort = 4;
  limits.default_caption_search_effort = 9;
  v1::SearchImagesRequest text = Text("red star");
  v1::SearchCaptionsRequest features = Features();
  EXPECT_EQ(Convert(text, limits)->options.rerank_depth, 30);
  EXPECT_EQ(Convert(text, limits)->options.search_effort, 4);
  EXPECT_EQ(Convert(features, limits)->options.rerank_depth, 70);
  EXPECT_EQ(Convert(features, limits)->options.search_effort, 9);
  EXPECT_EQ(Convert(features)->options.rerank_depth, 30);  // one for both
  // What a request says goes first, and no depth is below top_k.
  features.mutable_options()->set_search_effort(2);
  features.mutable_options()->set_rerank_depth(60);
  EXPECT_EQ(Convert(features, limits)->options.rerank_depth, 60);
  EXPECT_EQ(Convert(features, limits)->options.search_effort, 2);
  text.mutable_options()->set_top_k(45);
  EXPECT_EQ(Convert(text, limits)->options.rerank_depth, 45);
}

v1::ExplainPairRequest Pair(const std::string& text, const std::string& image_id) {
  v1::ExplainPairRequest request;
  request.set_text(text);
  request.set_image_id(image_id);
  return request;
}

TEST_F(RequestConverterTest, APairIsOfTextsIdsAndFeatures) {
  const RequestConverter converter(kLimits, model_.info());
  const auto by_text = converter.Convert(Pair("red star", "image-3"), gallery_);
  ASSERT_TRUE(by_text.ok()) << by_text.status();
  EXPECT_EQ(std::get<TextQuery>(by_text->pair.caption).text, "red star");
  EXPECT_EQ(std::get<GalleryImageQuery>(by_text->pair.image).row, 3);
  EXPECT_EQ(by_text->mode, ScoreMode::kEnsemble);

  v1::ExplainPairRequest request;
  request.set_caption_id("caption-7");
  *request.mutable_features() = Features().features();
  request.set_score_mode(v1::SCORE_MODE_T2I);
  const auto by_id = converter.Convert(request, gallery_);
  ASSERT_TRUE(by_id.ok()) << by_id.status();
  EXPECT_EQ(std::get<GalleryCaptionQuery>(by_id->pair.caption).row, 7);
  EXPECT_THAT(std::get<RegionFeaturesQuery>(by_id->pair.image).values,
              ElementsAreArray(FakeRegionFeatures(3)));
  EXPECT_EQ(by_id->mode, ScoreMode::kT2i);
}

TEST_F(RequestConverterTest, WhatIsLeftOutIsConverted) {
  v1::SearchImagesRequest request = Text("red star");
  v1::SearchOptions& given = *request.mutable_options();
  EXPECT_TRUE(Convert(request)->options.filter.matches_everything());
  EXPECT_FALSE(Convert(request)->options.group_by.has_value());
  EXPECT_FALSE(Convert(request)->options.keep_all);
  EXPECT_FALSE(Convert(request)->want.payload);
  given.set_filter("color = red");
  given.set_min_coarse_score(0.1f);
  given.set_min_rerank_score(-1);
  given.set_min_final_score(1);
  given.set_paged(true);
  given.set_with_payload(true);
  given.set_group_by("maker.name");
  given.set_group_size(3);
  const absl::StatusOr<SearchRequest> converted = Convert(request);
  ASSERT_TRUE(converted.ok()) << converted.status();
  const SearchOptions& options = converted->options;
  EXPECT_EQ(options.filter.canonical(), ItemFilter::Parse("color=red")->canonical());
  EXPECT_EQ(options.min_coarse_score, 0.1f);
  EXPECT_EQ(options.min_rerank_score, -1);
  EXPECT_EQ(options.min_final_score, 1);
  EXPECT_TRUE(options.keep_all);
  EXPECT_TRUE(converted->want.payload);
  EXPECT_THAT(options.group_by->path, ElementsAre("maker", "name"));
  EXPECT_TRUE(options.group_by->in_payload);
  EXPECT_EQ(options.group_by->size, 3);
}

TEST_F(RequestConverterTest, GroupsAreByPayloadFieldsOrTheRecords) {
  v1::SearchCaptionsRequest captions = Features();
  captions.mutable_options()->set_group_by("image_id");
  EXPECT_FALSE(Convert(captions)->options.group_by->in_payload);
  EXPECT_EQ(Convert(captions)->options.group_by->size, 1);
  captions.mutable_options()->set_group_by("payload.image_id");
  EXPECT_TRUE(Convert(captions)->options.group_by->in_payload);
  EXPECT_THAT(Convert(captions)->options.group_by->path, ElementsAre("image_id"));
  v1::SearchImagesRequest images = Text("red");
  images.mutable_options()->set_group_by("image_id");
  EXPECT_TRUE(Convert(images)->options.group_by->in_payload);
  images.mutable_options()->set_group_by("uri");
  EXPECT_FALSE(Convert(images)->options.group_by->in_payload);

  images.mutable_options()->set_group_by("a.");
  ExpectViolation(images, "options.group_by", "VALUE_OUT_OF_RANGE", "names with dots between");
  images.mutable_options()->set_group_by("a");
  images.mutable_options()->set_group_size(0);
  ExpectViolation(images, "options.group_size", "VALUE_OUT_OF_RANGE", "must be 1 to");
  images.mutable_options()->set_group_size(2);
  images.mutable_options()->clear_group_by();
  ExpectViolation(images, "options.group_size", "FIELDS_CONFLICT", "only together with");
}

TEST_F(RequestConverterTest, FilterAndThresholdsAreChecked) {
  v1::SearchImagesRequest request = Text("red");
  v1::SearchOptions& options = *request.mutable_options();
  options.set_filter("color == red");
  ExpectViolation(request, "options.filter", "FILTER_SYNTAX", "at character 8");
  options.clear_filter();
  options.set_min_coarse_score(1.5f);
  ExpectViolation(request, "options.min_coarse_score", "VALUE_OUT_OF_RANGE", "-1 to 1, got 1.5");
  options.clear_min_coarse_score();
  options.set_min_final_score(std::nanf(""));
  ExpectViolation(request, "options.min_final_score", "VALUE_OUT_OF_RANGE", "got nan");
  options.clear_min_final_score();
  options.set_min_rerank_score(0);
  options.set_fusion_weight(1);
  ExpectViolation(request, "options.min_rerank_score", "FIELDS_CONFLICT", "nothing is reranked");
  options.clear_fusion_weight();
  options.set_adaptive_depth(true);
  options.set_paged(true);
  options.set_group_by("a");
  const ErrorDetails details =
      ParseErrorDetails(ToGrpcStatus(Convert(request).status(), absl::Seconds(1)));
  EXPECT_THAT(details.Fields(), ElementsAre("options.adaptive_depth", "options.adaptive_depth",
                                            "options.adaptive_depth"));
}

TEST_F(RequestConverterTest, FeaturesMayBeBytes) {
  const std::vector<float> values = FakeRegionFeatures(3);
  v1::SearchCaptionsRequest request = Features();
  request.mutable_features()->clear_values();
  request.mutable_features()->set_float32(reinterpret_cast<const char*>(values.data()),
                                          values.size() * sizeof(float));
  EXPECT_EQ(std::get<RegionFeaturesQuery>(Convert(request)->query).values, values);
  request.mutable_features()->mutable_float32()->pop_back();
  ExpectViolation(request, "features.float32", "FEATURE_SHAPE_MISMATCH", "got 14 and 3 bytes");
  request.mutable_features()->mutable_float32()->push_back('\xff');
  request.mutable_features()->mutable_float32()->at(values.size() * 4 - 2) = '\xff';
  ExpectViolation(request, "features.float32[14]", "FEATURE_NOT_FINITE", "must be finite");
  request.mutable_features()->set_float16("xx");
  ExpectViolation(request, "features.float32", "FIELDS_CONFLICT", "only one of");
}

TEST_F(RequestConverterTest, AFurtherPageNeedsItsTokenAndSizeAlone) {
  const RequestConverter converter(kLimits, model_.info());
  v1::SearchOptions options;
  options.set_page_token(
      SearchPageToken{.window = "0123456789abcdef0123456789abcdef", .offset = 10}.Encode());
  options.set_view(v1::RESULT_VIEW_FULL);
  const absl::StatusOr<PageRequest> page = converter.ConvertPage(options);
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_EQ(page->token.offset, 10);
  EXPECT_EQ(page->size, 10);
  EXPECT_TRUE(page->want.details);
  EXPECT_FALSE(page->want.payload);
  options.set_page_token("nothing");
  options.set_top_k(51);
  const ErrorDetails details =
      ParseErrorDetails(ToGrpcStatus(converter.ConvertPage(options).status(), absl::Seconds(1)));
  EXPECT_THAT(details.Fields(), ElementsAre("options.top_k", "options.page_token"));
}

TEST_F(RequestConverterTest, APairsFaultsAreNamedTogether) {
  const RequestConverter converter(kLimits, model_.info());
  const auto details = [&](const v1::ExplainPairRequest& request) {
    return ParseErrorDetails(
        ToGrpcStatus(converter.Convert(request, gallery_).status(), absl::Seconds(1)));
  };
  const ErrorDetails nothing = details({});
  EXPECT_EQ(nothing.reason, "CAPTION_MISSING");
  EXPECT_THAT(nothing.Fields(), ElementsAre("text", "image_id"));

  v1::ExplainPairRequest request = Pair("", "");
  request.set_score_mode(static_cast<v1::ScoreMode>(9));
  const ErrorDetails empty = details(request);
  EXPECT_EQ(empty.reason, "TEXT_EMPTY");
  EXPECT_THAT(empty.Fields(), ElementsAre("text", "image_id", "score_mode"));

  request.set_caption_id("");
  *request.mutable_features() = Features().features();
  request.mutable_features()->set_values(1, std::nanf(""));
  request.clear_score_mode();
  const ErrorDetails features = details(request);
  EXPECT_EQ(features.reason, "CAPTION_MISSING");
  EXPECT_THAT(features.Fields(), ElementsAre("caption_id", "features.values[1]"));
  EXPECT_THAT(details(Pair(std::string(21, 'x'), "image-0")).Fields(), ElementsAre("text"));
}

TEST_F(RequestConverterTest, APairOfUnknownItemsIsNotFound) {
  const RequestConverter converter(kLimits, model_.info());
  const auto details = [&](const v1::ExplainPairRequest& request) {
    const absl::Status status = converter.Convert(request, gallery_).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    return ParseErrorDetails(ToGrpcStatus(status, absl::Seconds(1)));
  };
  const ErrorDetails image = details(Pair("red", "image-5"));
  EXPECT_EQ(image.reason, "ITEM_NOT_FOUND");
  EXPECT_EQ(image.resource_type, "image");
  EXPECT_EQ(image.resource_name, "\"image-5\"");
  v1::ExplainPairRequest request = Pair("", "image-1");
  request.set_caption_id("caption-12");
  EXPECT_EQ(details(request).resource_type, "caption");
}

TEST_F(RequestConverterTest, WhatIsFoundAtFaultInAPairIsBlamed) {
  const absl::Status fault = absl::InvalidArgumentError("bad");
  const auto fields = [](const absl::Status& status) {
    return ParseErrorDetails(ToGrpcStatus(status, absl::Seconds(1))).Fields();
  };
  EXPECT_THAT(fields(BlameQuery(fault, PairQuery{.image = RegionFeaturesQuery()})),
              ElementsAre("features.values"));
  EXPECT_THAT(fields(BlameQuery(fault, PairQuery{.image = GalleryImageQuery()})),
              ElementsAre("text"));
}

}  // namespace
}  // namespace dime
