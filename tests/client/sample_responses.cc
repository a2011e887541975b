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
  details->set_rerank_score(score);
  if (view != v1::RESULT_VIEW_EXPLAIN) return;
  AddRouting(v1::SCORE_MODE_I2T, details);
  AddRouting(v1::SCORE_MODE_T2I, details);
}

void FillStats(v1::SearchStats* stats) {
  stats->set_recalled_count(64);
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
  limits->set_default_caption_rerank_depth(80);
  limits->set_default_caption_search_effort(32);
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
  model->set_coarse_heads(true);
  for (const v1::ScoreMode mode :
       {v1::SCORE_MODE_I2T, v1::SCORE_MODE_T2I, v1::SCORE_MODE_ENSEMBLE}) {
    v1::FusionWeight* weight = model->add_fusion_weights();
    weight->set_score_mode(mode);
    weight->set_images(mode == v1::SCORE_MODE_T2I ? 0.25f : 0.125f);
  }
  model->set_default_score_mode(v1::SCORE_MODE_ENSEMBLE);
  v1::GalleryInfo* gallery = response.mutable_gallery();
  gallery->set_name("scenes-test");
  gallery->set_version(kGalleryVersion);
  gallery->set_image_count(1000);
  gallery->set_caption_count(5000);
  gallery->set_image_index("Flat");
  gallery->set_caption_index("IVF256,Flat");
  return response;
}

v1::ExplainPairResponse SampleExplanation() {
  constexpr int kWords = 4, kRegions = 5;
  v1::ExplainPairResponse response;
  for (const char* word : {"[CLS]", "red", "cross", "[SEP]"}) response.add_words(word);
  response.set_num_regions(kRegions);
  for (int r = 0; r < kRegions; ++r) {
    v1::Box* box = response.add_boxes();
    box->set_left(20.0f * static_cast<float>(r));
    box->set_right(20.0f * static_cast<float>(r + 1));
    box->set_bottom(50);
  }
  response.set_image_width(100);
  response.set_image_height(50);
  response.set_rerank_score(0.5f);
  response.set_coarse_score(0.375f);
  for (const v1::ScoreMode mode : {v1::SCORE_MODE_I2T, v1::SCORE_MODE_T2I}) {
    float attention[kWords][kRegions];
    for (auto& row : attention) {
      for (float& share : row) share = mode == v1::SCORE_MODE_I2T ? 0.25f : 0.2f;
    }
    if (mode == v1::SCORE_MODE_I2T) {
      for (int w = 0; w < kWords; ++w) {
        attention[w][1] = w == 1 ? 0.7f : 0.1f;
        attention[w][3] = w == 2 ? 0.6f : 2.0f / 15;
      }
    } else {
      for (int r = 0; r < kRegions; ++r) {
        attention[1][r] = r == 1 ? 0.6f : 0.1f;
        attention[2][r] = r == 3 ? 0.5f : r == 2 ? 0.3f : 1.0f / 15;
      }
    }
    v1::DirectionExplanation* direction = response.add_directions();
    direction->set_direction(mode);
    direction->set_score(mode == v1::SCORE_MODE_I2T ? 0.4f : 0.6f);
    for (int layer = 0; layer < 3; ++layer) {
      v1::CellAttention* cell = direction->add_cells();
      cell->set_layer(layer);
      cell->set_cell(v1::CELL_CMRC);
      cell->set_weight(layer == 0 ? 0.25f : layer == 1 ? 0.0f : 0.75f);
      for (const auto& row : attention) {
        // What a shut layer looks at must not count.
        for (const float share : row) cell->add_attention(layer == 1 ? 1.0f : share);
      }
    }
  }
  return response;
}

std::string SamplePng(int width, int height) {
  std::string png("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR", 16);
  for (const int side : {width, height}) {
    for (int shift = 24; shift >= 0; shift -= 8) {
      png += static_cast<char>(static_cast<unsigned>(side) >> shift);
    }
  }
  return png + std::string("\x08\x02\x00\x00\x00", 5);
}

}  // namespace dime
