#include "server/response_writer.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_gallery.h"
#include "tests/fakes/fake_model.h"

namespace dime {
namespace {

class ResponseWriterTest : public ::testing::Test {
 protected:
  static SearchResult Result(Modality target) {
    SearchResult result{.target = target,
                        .recalled_count = 9,
                        .reranked_count = 5,
                        .fusion_weight = 0.25f,
                        .text_truncated = true};
    result.timings = {.encode = absl::Milliseconds(1),
                      .recall = absl::Milliseconds(2),
                      .rerank = absl::Milliseconds(1500),
                      .select = absl::Microseconds(4)};
    Hit hit{
        .row = 2, .score = 0.5f, .rerank_score = 0.75f, .coarse_score = 0.25f, .coarse_rank = 4};
    hit.direction_scores[1] = 0.5f;
    for (int w = 0; w < kNumPathWeights; ++w) hit.paths[1].push_back(static_cast<float>(w) / 100);
    result.hits = {hit};
    return result;
  }

  const FakeModel model_;
  const FakeGallery gallery_{{.num_images = 5, .captions = FakeCaptions(12)}};
  const ResponseWriter writer_{model_.info()};
  const CallTimings timings_ = {.queue = absl::Milliseconds(3), .total = absl::Seconds(2)};
};

TEST_F(ResponseWriterTest, BasicHoldsTheRecordsAlone) {
  const v1::SearchImagesResponse response =
      writer_.WriteImages(gallery_, Result(Modality::kImage), timings_, {.details = false}).value();
  ASSERT_EQ(response.hits_size(), 1);
  EXPECT_EQ(response.hits(0).id(), "image-2");
  EXPECT_EQ(response.hits(0).score(), 0.5f);
  EXPECT_EQ(response.hits(0).uri(), "file:///pictures/2.png");
  EXPECT_EQ(response.hits(0).width(), 642);
  EXPECT_EQ(response.hits(0).height(), 480);
  EXPECT_FALSE(response.hits(0).has_details());
  EXPECT_FALSE(response.has_stats());
  EXPECT_EQ(response.gallery_version(), "v1");
  EXPECT_EQ(response.model_fingerprint(), "fake-fingerprint");
}

// Gives every record this payload as it is stored, where it may.
class GalleryOfStored : public FakeGallery {
 public:
  explicit GalleryOfStored(std::string payload)
      : FakeGallery({.num_images = 5, .captions = FakeCaptions(12)}),
        payload_(std::move(payload)) {}
  absl::Status VisitImages(absl::Span<const int64_t> rows, RecordParts parts,
                           absl::FunctionRef<void(const ImageRecord&)> visit) const override {
    return FakeGallery::VisitImages(
        rows, parts, [&](const ImageRecord& record) { visit(WithStored(record, parts)); });
  }
  absl::Status VisitCaptions(absl::Span<const int64_t> rows, RecordParts parts,
                             absl::FunctionRef<void(const CaptionRecord&)> visit) const override {
    return FakeGallery::VisitCaptions(
        rows, parts, [&](const CaptionRecord& record) { visit(WithStored(record, parts)); });
  }

 private:
  template <typename Record>
  Record WithStored(Record record, RecordParts parts) const {
    record.payload = nullptr;
    if (parts == RecordParts::kStoredPayload) record.stored_payload = payload_;
    return record;
  }
  const std::string payload_;
};

// What a client gets of it.
template <typename Message>
Message OverTheWire(const Message& message) {
  Message received;
  EXPECT_TRUE(received.ParseFromString(message.SerializeAsString()));
  EXPECT_TRUE(received.GetReflection()->GetUnknownFields(received).empty());
  return received;
}

TEST_F(ResponseWriterTest, StoredPayloadsAreWrittenWhereTheyAreWanted) {
  const GalleryOfStored gallery(SerializePayload({{"rating", 4.5}}));
  for (const bool wanted : {true, false}) {
    const auto images =
        writer_.WriteImages(gallery, Result(Modality::kImage), timings_, {.payload = wanted});
    const auto captions =
        writer_.WriteCaptions(gallery, Result(Modality::kCaption), timings_, {.payload = wanted});
    ASSERT_TRUE(images.ok() && captions.ok());
    const v1::ImageHit image = OverTheWire(images->hits(0));
    const v1::CaptionHit caption = OverTheWire(captions->hits(0));
    EXPECT_EQ(image.has_payload(), wanted);
    EXPECT_EQ(caption.has_payload(), wanted);
    if (!wanted) continue;
    EXPECT_EQ(image.payload().fields().at("rating").number_value(), 4.5);
    EXPECT_EQ(caption.payload().fields().at("rating").number_value(), 4.5);
  }
}

TEST_F(ResponseWriterTest, ADamagedPayloadIsDataLossAndNamesTheItem) {
  const GalleryOfStored gallery("damage");
  const absl::Status images =
      writer_.WriteImages(gallery, Result(Modality::kImage), timings_, {.payload = true}).status();
  const absl::Status captions =
      writer_.WriteCaptions(gallery, Result(Modality::kCaption), timings_, {.payload = true})
          .status();
  EXPECT_EQ(images.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(images.message()), testing::HasSubstr("image-2"));
  EXPECT_EQ(captions.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(captions.message()), testing::HasSubstr("caption-2"));
}

TEST_F(ResponseWriterTest, DetailsTellHowAHitCameByItsPlace) {
  const v1::SearchCaptionsResponse response =
      writer_.WriteCaptions(gallery_, Result(Modality::kCaption), timings_, {.details = true})
          .value();
  ASSERT_EQ(response.hits_size(), 1);
  EXPECT_EQ(response.hits(0).id(), "caption-2");
  EXPECT_EQ(response.hits(0).text(), FakeCaptions(12)[2]);
  EXPECT_EQ(response.hits(0).image_id(), "image-2");
  const v1::ScoreDetails& details = response.hits(0).details();
  EXPECT_EQ(details.coarse_score(), 0.25f);
  EXPECT_EQ(details.coarse_rank(), 4);
  EXPECT_FALSE(details.has_i2t_score());
  EXPECT_EQ(details.t2i_score(), 0.5f);
  EXPECT_EQ(details.rerank_score(), 0.75f);

  EXPECT_EQ(response.stats().recalled_count(), 9);
  EXPECT_EQ(response.stats().reranked_count(), 5);
  EXPECT_EQ(response.stats().fusion_weight(), 0.25f);
  EXPECT_TRUE(response.stats().text_truncated());
  EXPECT_EQ(response.stats().total_time().seconds(), 2);
  EXPECT_EQ(response.stats().queue_time().nanos(), 3000000);
  EXPECT_EQ(response.stats().encode_time().nanos(), 1000000);
  EXPECT_EQ(response.stats().recall_time().nanos(), 2000000);
  EXPECT_EQ(response.stats().rerank_time().seconds(), 1);
  EXPECT_EQ(response.stats().rerank_time().nanos(), 500000000);
  EXPECT_EQ(response.stats().select_time().nanos(), 4000);
}

TEST_F(ResponseWriterTest, WhatWasNotRerankedHasNoRerankScore) {
  SearchResult result{.target = Modality::kImage, .recalled_count = 9, .fusion_weight = 1};
  result.hits = {{.row = 2, .score = 0.5f, .coarse_score = 0.5f, .coarse_rank = 1}};
  const v1::SearchImagesResponse response =
      writer_.WriteImages(gallery_, result, timings_, {.details = true}).value();
  const v1::ScoreDetails& details = response.hits(0).details();
  EXPECT_FALSE(details.has_rerank_score());
  EXPECT_FALSE(details.has_i2t_score());
  EXPECT_FALSE(details.has_t2i_score());
  EXPECT_EQ(response.stats().reranked_count(), 0);
  EXPECT_EQ(response.stats().fusion_weight(), 1);
}

TEST_F(ResponseWriterTest, PathWeightsAreNamedByLayerPathAndCell) {
  const v1::SearchImagesResponse response =
      writer_.WriteImages(gallery_, Result(Modality::kImage), timings_, {.details = true}).value();
  ASSERT_EQ(response.hits(0).details().routings_size(), 1);
  const v1::Routing& routing = response.hits(0).details().routings(0);
  EXPECT_EQ(routing.direction(), v1::SCORE_MODE_T2I);
  ASSERT_EQ(routing.path_weights_size(), kNumPathWeights);
  const auto expect = [&routing](int index, int layer, v1::Cell cell, v1::Cell path) {
    const v1::PathWeight& weight = routing.path_weights(index);
    EXPECT_EQ(weight.layer(), layer) << index;
    EXPECT_EQ(weight.cell(), cell) << index;
    EXPECT_EQ(weight.path(), path) << index;
    EXPECT_EQ(weight.weight(), static_cast<float>(index) / 100) << index;
  };
  expect(0, 0, v1::CELL_RIC, v1::CELL_RIC);
  expect(3, 0, v1::CELL_CMRC, v1::CELL_RIC);  // path 0, cell 3
  expect(4, 0, v1::CELL_RIC, v1::CELL_GLGC);  // path 1, cell 0
  expect(16, 1, v1::CELL_RIC, v1::CELL_RIC);
  expect(30, 1, v1::CELL_IMRC, v1::CELL_CMRC);  // path 3, cell 2
  expect(32, 2, v1::CELL_RIC, v1::CELL_UNSPECIFIED);
  expect(35, 2, v1::CELL_CMRC, v1::CELL_UNSPECIFIED);
}

TEST_F(ResponseWriterTest, InfoHoldsLimitsAndFacts) {
  const v1::GetInfoResponse info =
      writer_.WriteInfo("1.2.3", absl::FromUnixMillis(1700000000500), {.max_top_k = 77});
  EXPECT_EQ(info.server_version(), "1.2.3");
  EXPECT_EQ(info.start_time().seconds(), 1700000000);
  EXPECT_EQ(info.start_time().nanos(), 500000000);
  EXPECT_EQ(info.limits().max_top_k(), 77);
  EXPECT_EQ(info.limits().max_rerank_depth(), SearchLimits().max_rerank_depth);
  EXPECT_EQ(info.limits().default_rerank_depth(), SearchLimits().default_rerank_depth);
  // One depth for both searches where the captions have none of their own.
  EXPECT_EQ(info.limits().default_caption_rerank_depth(), SearchLimits().default_rerank_depth);
  EXPECT_EQ(info.limits().default_search_effort(), 0);
  EXPECT_EQ(info.limits().default_caption_search_effort(), 0);
  EXPECT_EQ(info.limits().max_exact_items(), SearchLimits().max_exact_items);
  EXPECT_EQ(info.limits().max_text_characters(), SearchLimits().max_text_characters);
  EXPECT_EQ(info.limits().max_search_effort(), SearchLimits().max_search_effort);
  EXPECT_EQ(info.limits().max_request_bytes(), SearchLimits().max_request_bytes);
  EXPECT_EQ(info.model().name(), "fake-model");
  EXPECT_EQ(info.model().fingerprint(), "fake-fingerprint");
  EXPECT_EQ(info.model().device(), "cpu");
  EXPECT_EQ(info.model().scorer(), "fake");
  EXPECT_EQ(info.model().max_words(), kFakeMaxWords);
  EXPECT_EQ(info.model().num_regions(), kFakeNumRegions);
  EXPECT_EQ(info.model().feature_dim(), kFakeFeatureDim);
  EXPECT_EQ(info.model().coarse_dim(), kFakeCoarseDim);
  ASSERT_EQ(info.model().directions_size(), 2);
  EXPECT_EQ(info.model().directions(1).direction(), v1::SCORE_MODE_T2I);
  EXPECT_EQ(info.model().directions(1).embed_size(), kFakeEmbedSize[1]);
  EXPECT_EQ(info.model().directions(1).lambda_softmax(), 9.0f);
  EXPECT_FALSE(info.has_gallery());
  const v1::GalleryInfo gallery = writer_.WriteGallery(gallery_, /*writable=*/true);
  EXPECT_EQ(gallery.name(), "fake-gallery");
  EXPECT_EQ(gallery.image_count(), 5);
  EXPECT_EQ(gallery.caption_count(), 12);
  EXPECT_EQ(gallery.caption_index(), "Flat");
}

TEST_F(ResponseWriterTest, InfoTellsHowTheModelRanks) {
  FakeModel model;
  model.mutable_info().coarse_heads = true;
  RankingSettings& ranking = model.mutable_info().ranking;
  ranking.of(Modality::kCaption, ScoreMode::kEnsemble) = {.fusion_weight = 0.5f};
  for (Modality target : {Modality::kImage, Modality::kCaption}) {  // its reranking loses
    ranking.of(target, ScoreMode::kT2i) = {.coarse_recall = 200, .rerank_recall = 150};
  }
  v1::ModelInfo info =
      ResponseWriter(model.info()).WriteInfo("1", absl::UnixEpoch(), SearchLimits()).model();
  EXPECT_TRUE(info.coarse_heads());
  ASSERT_EQ(info.fusion_weights_size(), 3);
  EXPECT_EQ(info.fusion_weights(2).score_mode(), v1::SCORE_MODE_ENSEMBLE);
  EXPECT_EQ(info.fusion_weights(2).images(), 0);
  EXPECT_EQ(info.fusion_weights(2).captions(), 0.5f);
  EXPECT_EQ(info.default_score_mode(), v1::SCORE_MODE_ENSEMBLE);

  model.mutable_info().directions[0].embed_size = 0;  // the t-i model alone, whatever it does
  info = ResponseWriter(model.info()).WriteInfo("1", absl::UnixEpoch(), SearchLimits()).model();
  ASSERT_EQ(info.fusion_weights_size(), 1);
  EXPECT_EQ(info.fusion_weights(0).score_mode(), v1::SCORE_MODE_T2I);
  EXPECT_EQ(info.default_score_mode(), v1::SCORE_MODE_T2I);
}

TEST_F(ResponseWriterTest, InfoTellsTheDefaultsOfEachSearch) {
  const v1::Limits limits = writer_
                                .WriteInfo("1", absl::UnixEpoch(),
                                           {.default_rerank_depth = 40,
                                            .default_caption_rerank_depth = 90,
                                            .default_search_effort = 16,
                                            .default_caption_search_effort = 32})
                                .limits();
  EXPECT_EQ(limits.default_rerank_depth(), 40);
  EXPECT_EQ(limits.default_caption_rerank_depth(), 90);
  EXPECT_EQ(limits.default_search_effort(), 16);
  EXPECT_EQ(limits.default_caption_search_effort(), 32);
}

TEST_F(ResponseWriterTest, AnExplanationIsWrittenWithTheImagesRecord) {
  ExplainedPair pair{
      .words = {"[CLS]", "red", "[SEP]"}, .text_truncated = true, .coarse_score = 0.125f};
  pair.explanation.num_words = 3;
  pair.explanation.num_regions = kFakeNumRegions;
  for (Direction direction : kDirections) {
    // Not emplaced, which Clang 14 cannot for a nested aggregate.
    auto& directions = pair.explanation.directions;
    PairExplanation::Part& part =
        *(directions[static_cast<int>(direction)] = PairExplanation::Part{});
    part.score = direction == Direction::kI2t ? 0.5f : 0.25f;
    part.paths.assign(kNumPathWeights, 0.1f);
    for (int layer = 0; layer < kNumRoutingLayers; ++layer) {
      part.layers[layer].weight = 0.2f * static_cast<float>(layer);
      part.layers[layer].attention.assign(3 * kFakeNumRegions, static_cast<float>(layer));
    }
  }
  const v1::ExplainPairResponse response =
      writer_.WriteExplanation(gallery_, {.image = GalleryImageQuery{.row = 2}}, pair).value();
  EXPECT_THAT(response.words(), testing::ElementsAre("[CLS]", "red", "[SEP]"));
  EXPECT_EQ(response.num_regions(), kFakeNumRegions);
  EXPECT_EQ(response.image_uri(), "file:///pictures/2.png");
  EXPECT_EQ(response.image_width(), 642);
  EXPECT_EQ(response.image_height(), 480);
  ASSERT_EQ(response.boxes_size(), kFakeNumRegions);
  EXPECT_EQ(response.boxes(1).left(), 12);
  EXPECT_EQ(response.boxes(1).top(), 13);
  EXPECT_EQ(response.boxes(1).right(), 32);
  EXPECT_EQ(response.boxes(1).bottom(), 43);
  EXPECT_EQ(response.rerank_score(), 0.375f);
  EXPECT_EQ(response.coarse_score(), 0.125f);
  EXPECT_TRUE(response.text_truncated());
  EXPECT_EQ(response.model_fingerprint(), "fake-fingerprint");
  ASSERT_EQ(response.directions_size(), 2);
  const v1::DirectionExplanation& t2i = response.directions(1);
  EXPECT_EQ(t2i.direction(), v1::SCORE_MODE_T2I);
  EXPECT_EQ(t2i.score(), 0.25f);
  EXPECT_EQ(t2i.routing().path_weights_size(), kNumPathWeights);
  ASSERT_EQ(t2i.cells_size(), kNumRoutingLayers);
  EXPECT_EQ(t2i.cells(2).layer(), 2);
  EXPECT_EQ(t2i.cells(2).cell(), v1::CELL_CMRC);
  EXPECT_EQ(t2i.cells(2).weight(), 0.4f);
  EXPECT_THAT(t2i.cells(2).attention(),
              testing::ElementsAreArray(std::vector<float>(3 * kFakeNumRegions, 2)));
}

TEST_F(ResponseWriterTest, AnExplanationOfSentFeaturesHasNoRecordAndOneDirectionItsScore) {
  ExplainedPair pair{.words = {"[CLS]", "[SEP]"}};
  pair.explanation.directions[0] = PairExplanation::Part{.score = 0.5f};
  pair.explanation.directions[0]->paths.assign(kNumPathWeights, 0);
  const v1::ExplainPairResponse response =
      writer_.WriteExplanation(gallery_, {.image = RegionFeaturesQuery()}, pair).value();
  EXPECT_EQ(response.image_uri(), "");
  EXPECT_EQ(response.boxes_size(), 0);
  EXPECT_EQ(response.rerank_score(), 0.5f);
  EXPECT_EQ(response.directions_size(), 1);
}

}  // namespace
}  // namespace dime
