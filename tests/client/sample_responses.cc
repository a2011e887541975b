#include "tests/client/sample_responses.h"

#include <string>

namespace dime {
namespace {

void AddRouting(v1::ScoreMode direction, v1::ScoreDetails* details) {
  // By cell, the same for every path of a layer; path 4 of layer 1 has all its gates shut.
  constexpr float kShares[3][4] = {
      {0.5f, 0.25f, 0.25f, 0.0f}, {0.004f, 0.746f, 0.05f, 0.2f}, {1.0f, 0.8f, 0.0f, 0.333f}};
  v1::Routing* routing = details->add_routings();
  routing->set_direction(direction);
  for (int layer = 0; layer < 3; ++layer) {
    for (int path = 1; path <= (layer == 2 ? 1 : 4); ++path) {
      for (int cell = 1; cell <= 4; ++cell) {
        v1::PathWeight* weight = routing->add_path_weights();
        weight->set_layer(layer);
        weight->set_cell(static_cast<v1::Cell>(cell));
        if (layer < 2) weight->set_path(static_cast<v1::Cell>(path));
        weight->set_weight(layer == 1 && path == 4 ? 0.0f : kShares[layer][cell - 1]);
      }
    }
  }
}

void FillDetails(v1::ResultView view, float coarse_score, int coarse_rank, float score,
                 v1::ScoreDetails* details) {
  details->set_coarse_score(coarse_score);
  details->set_coarse_rank(coarse_rank);
  details->set_i2t_score(score - 0.01f);
  details->set_t2i_score(score + 0.01f);
  if (view != v1::RESULT_VIEW_EXPLAIN) return;
  AddRouting(v1::SCORE_MODE_I2T, details);
  AddRouting(v1::SCORE_MODE_T2I, details);
}

void FillStats(v1::SearchStats* stats) {
  stats->set_reranked_count(64);
  stats->mutable_total_time()->set_nanos(5912345);
  stats->mutable_queue_time()->set_nanos(110000);
  stats->mutable_encode_time()->set_nanos(2000000);
  stats->mutable_recall_time()->set_nanos(340000);
  stats->mutable_rerank_time()->set_nanos(3400000);
  stats->mutable_select_time()->set_nanos(60000);
}

constexpr float kScores[] = {0.81234f, 0.7f, -0.05f};
constexpr float kCoarseScores[] = {0.55f, 0.9f, 0.51f};
constexpr int kCoarseRanks[] = {17, 1, 3};
constexpr char kGalleryVersion[] = "4be1a2c0ffee00112233445566778899";
constexpr char kFingerprint[] = "8f3a51e0d2c4b6a798897a6b5c4d3e2f1a0b1c2d3e4f5061728394a5b6c7d8e9";

}  // namespace

v1::SearchImagesResponse SampleImages(v1::ResultView view) {
  v1::SearchImagesResponse response;
  for (int i = 0; i < 3; ++i) {
    v1::ImageHit* hit = response.add_hits();
    const std::string id = "scene-" + std::to_string(i == 0 ? 0 : 120 + i);
    hit->set_id(id);
    hit->set_score(kScores[i]);
    hit->set_uri("images/" + id + ".png");
    hit->set_width(i == 1 ? 1024 : 120);
    hit->set_height(120);
    if (view >= v1::RESULT_VIEW_FULL) {
      FillDetails(view, kCoarseScores[i], kCoarseRanks[i], kScores[i], hit->mutable_details());
    }
  }
  if (view >= v1::RESULT_VIEW_FULL) FillStats(response.mutable_stats());
  response.set_gallery_version(kGalleryVersion);
  response.set_model_fingerprint(kFingerprint);
  return response;
}

v1::SearchCaptionsResponse SampleCaptions(v1::ResultView view) {
  constexpr const char* kTexts[] = {
      "Two dogs run along the beach while a man in a red jacket throws a stick into the sea",
      "两只狗在海滩上奔跑", "A café terrace"};
  v1::SearchCaptionsResponse response;
  for (int i = 0; i < 3; ++i) {
    v1::CaptionHit* hit = response.add_hits();
    hit->set_id("scene-7#" + std::to_string(i));
    hit->set_score(kScores[i]);
    hit->set_text(kTexts[i]);
    hit->set_image_id("scene-7");
    if (view >= v1::RESULT_VIEW_FULL) {
      FillDetails(view, kCoarseScores[i], kCoarseRanks[i], kScores[i], hit->mutable_details());
    }
  }
  if (view >= v1::RESULT_VIEW_FULL) FillStats(response.mutable_stats());
  response.set_gallery_version(kGalleryVersion);
  response.set_model_fingerprint(kFingerprint);
  return response;
}

v1::GetInfoResponse SampleInfo() {
  v1::GetInfoResponse response;
  response.set_server_version("0.1.0");
  response.mutable_start_time()->set_seconds(1700000000);
  v1::Limits* limits = response.mutable_limits();
  limits->set_max_top_k(100);
  limits->set_max_rerank_depth(1000);
  limits->set_default_rerank_depth(64);
  limits->set_max_exact_items(20000);
  limits->set_max_text_characters(2000);
  limits->set_max_search_effort(4096);
  limits->set_max_request_bytes(16 << 20);
  v1::ModelInfo* model = response.mutable_model();
  model->set_name("scenes");
  model->set_fingerprint(kFingerprint);
  model->set_device("cpu");
  model->set_max_words(32);
  model->set_num_regions(36);
  model->set_feature_dim(288);
  model->set_coarse_dim(128);
  for (const v1::ScoreMode mode : {v1::SCORE_MODE_I2T, v1::SCORE_MODE_T2I}) {
    v1::DirectionInfo* direction = model->add_directions();
    direction->set_direction(mode);
    direction->set_embed_size(64);
    direction->set_num_heads(4);
    direction->set_raw_feature_norm("clipped_l2norm");
    direction->set_lambda_softmax(mode == v1::SCORE_MODE_I2T ? 4.0f : 9.0f);
  }
  v1::GalleryInfo* gallery = response.mutable_gallery();
  gallery->set_name("scenes-test");
  gallery->set_version(kGalleryVersion);
  gallery->set_image_count(1000);
  gallery->set_caption_count(5000);
  gallery->set_image_index("Flat");
  gallery->set_caption_index("IVF256,Flat");
  return response;
}

}  // namespace dime
