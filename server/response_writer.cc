#include "server/response_writer.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "index/item_filter.h"
#include "index/status_macros.h"
#include "server/payload_message.h"
#include "server/proto_values.h"

namespace dime {
namespace {

v1::ScoreMode ToProto(Direction direction) {
  return direction == Direction::kI2t ? v1::SCORE_MODE_I2T : v1::SCORE_MODE_T2I;
}

v1::ScoreMode ToProto(ScoreMode mode) {
  switch (mode) {
    case ScoreMode::kI2t:
      return v1::SCORE_MODE_I2T;
    case ScoreMode::kT2i:
      return v1::SCORE_MODE_T2I;
    case ScoreMode::kEnsemble:
      return v1::SCORE_MODE_ENSEMBLE;
  }
  return v1::SCORE_MODE_UNSPECIFIED;
}

v1::Cell CellAt(int index) { return static_cast<v1::Cell>(v1::CELL_RIC + index); }

// `weights`: (36), see kNumPathWeights.
v1::Routing WriteRouting(Direction direction, absl::Span<const float> weights) {
  v1::Routing routing;
  routing.set_direction(ToProto(direction));
  constexpr int kWeightsPerLayer = kNumCells * kNumCells;
  for (int w = 0; w < kNumPathWeights; ++w) {
    const int layer = w / kWeightsPerLayer;
    const int within = w % kWeightsPerLayer;
    const bool last = layer == kNumRoutingLayers - 1;
    v1::PathWeight& weight = *routing.add_path_weights();
    weight.set_layer(layer);
    weight.set_cell(CellAt(within % kNumCells));
    weight.set_path(last ? v1::CELL_UNSPECIFIED : CellAt(within / kNumCells));
    weight.set_weight(weights[w]);
  }
  return routing;
}

v1::ScoreDetails WriteDetails(const Hit& hit) {
  v1::ScoreDetails details;
  details.set_coarse_score(hit.coarse_score);
  details.set_coarse_rank(hit.coarse_rank);
  if (const auto& score = hit.direction_scores[static_cast<int>(Direction::kI2t)]) {
    details.set_i2t_score(*score);
  }
  if (const auto& score = hit.direction_scores[static_cast<int>(Direction::kT2i)]) {
    details.set_t2i_score(*score);
  }
  if (hit.rerank_score.has_value()) details.set_rerank_score(*hit.rerank_score);
  for (Direction direction : kDirections) {
    const std::vector<float>& paths = hit.paths[static_cast<int>(direction)];
    if (!paths.empty()) *details.add_routings() = WriteRouting(direction, paths);
  }
  return details;
}

v1::DegradationReason ToProto(Degradation degradation) {
  switch (degradation) {
    case Degradation::kDeadline:
      return v1::DEGRADATION_REASON_DEADLINE;
    case Degradation::kQueueFull:
      return v1::DEGRADATION_REASON_QUEUE_FULL;
    case Degradation::kRerankFailed:
      return v1::DEGRADATION_REASON_RERANK_FAILED;
  }
  return v1::DEGRADATION_REASON_UNSPECIFIED;
}

// Nothing if the answer is all that was asked.
template <typename Response>
void WriteDegradation(const SearchResult& result, Response& response) {
  if (result.degradations.empty()) return;
  v1::Degradation& degradation = *response.mutable_degradation();
  for (const Degradation reason : result.degradations) degradation.add_reasons(ToProto(reason));
  degradation.set_reranked_count(static_cast<int32_t>(result.reranked_count));
  degradation.set_wanted_count(static_cast<int32_t>(result.recalled_count));
}

v1::ModelInfo WriteModel(const ModelInfo& model) {
  v1::ModelInfo proto;
  proto.set_name(model.name);
  proto.set_fingerprint(model.fingerprint);
  proto.set_device(model.device);
  proto.set_scorer(model.scorer);
  proto.set_max_words(model.max_words);
  proto.set_num_regions(model.num_regions);
  proto.set_feature_dim(model.feature_dim);
  proto.set_coarse_dim(model.coarse_dim);
  for (Direction direction : kDirections) {
    if (!model.Has(direction)) continue;
    const DirectionInfo& info = model.directions[static_cast<int>(direction)];
    v1::DirectionInfo& added = *proto.add_directions();
    added.set_direction(ToProto(direction));
    added.set_embed_size(info.embed_size);
    added.set_num_heads(info.num_heads);
    added.set_raw_feature_norm(info.raw_feature_norm);
    added.set_lambda_softmax(info.lambda_softmax);
  }
  proto.set_coarse_heads(model.coarse_heads);
  for (ScoreMode mode : kScoreModes) {
    if (!model.Serves(mode)) continue;
    v1::FusionWeight& added = *proto.add_fusion_weights();
    added.set_score_mode(ToProto(mode));
    added.set_images(model.ranking.FusionWeight(Modality::kImage, mode));
    added.set_captions(model.ranking.FusionWeight(Modality::kCaption, mode));
  }
  proto.set_default_score_mode(ToProto(model.DefaultMode()));
  return proto;
}

std::vector<int64_t> RowsOf(const SearchResult& result) {
  std::vector<int64_t> rows;
  rows.reserve(result.hits.size());
  for (const Hit& hit : result.hits) rows.push_back(hit.row);
  return rows;
}

// The payload may be left as it is stored: see PartsFor(). DATA_LOSS if it is damaged.
template <typename Record, typename Hit>
absl::Status WritePayloadAndTimes(const Record& record, Hit& hit) {
  WriteCommonFields(record, hit);
  if (record.stored_payload.empty()) return absl::OkStatus();
  absl::StatusOr<std::string> payload = SerializeStoredPayload(record.stored_payload);
  if (!payload.ok()) {
    return absl::DataLossError(absl::StrCat("the stored payload of ", record.id, " is damaged"));
  }
  PutSerializedPayload(*std::move(payload), hit);
  return absl::OkStatus();
}

RecordParts PartsFor(const HitFields& want) {
  return want.payload ? RecordParts::kStoredPayload : RecordParts::kWithoutPayload;
}

}  // namespace

v1::SearchStats WriteStats(const SearchResult& result, const CallTimings& timings) {
  v1::SearchStats stats;
  stats.set_reranked_count(static_cast<int32_t>(result.reranked_count));
  stats.set_recalled_count(static_cast<int32_t>(result.recalled_count));
  stats.set_fusion_weight(result.fusion_weight);
  stats.set_text_truncated(result.text_truncated);
  *stats.mutable_total_time() = ToProtoDuration(timings.total);
  *stats.mutable_queue_time() = ToProtoDuration(timings.queue);
  *stats.mutable_encode_time() = ToProtoDuration(result.timings.encode);
  *stats.mutable_recall_time() = ToProtoDuration(result.timings.recall);
  *stats.mutable_rerank_time() = ToProtoDuration(result.timings.rerank);
  *stats.mutable_select_time() = ToProtoDuration(result.timings.select);
  return stats;
}

absl::StatusOr<v1::SearchImagesResponse> ResponseWriter::WriteImages(const GalleryView& view,
                                                                     const SearchResult& result,
                                                                     const CallTimings& timings,
                                                                     const HitFields& want) const {
  v1::SearchImagesResponse response;
  absl::Status status;
  const auto write = [&](const ImageRecord& record) {
    const Hit& hit = result.hits[static_cast<size_t>(response.hits_size())];
    v1::ImageHit& added = *response.add_hits();
    added.set_id(record.id);
    added.set_score(hit.score);
    added.set_uri(record.uri);
    added.set_width(record.width);
    added.set_height(record.height);
    if (want.payload) status.Update(WritePayloadAndTimes(record, added));
    if (want.details) *added.mutable_details() = WriteDetails(hit);
  };
  RETURN_IF_ERROR(view.VisitImages(RowsOf(result), PartsFor(want), write));
  RETURN_IF_ERROR(status);
  if (want.details) *response.mutable_stats() = WriteStats(result, timings);
  WriteDegradation(result, response);
  response.set_gallery_version(view.info().version);
  response.set_model_fingerprint(model_.fingerprint);
  return response;
}

absl::StatusOr<v1::SearchCaptionsResponse> ResponseWriter::WriteCaptions(
    const GalleryView& view, const SearchResult& result, const CallTimings& timings,
    const HitFields& want) const {
  v1::SearchCaptionsResponse response;
  absl::Status status;
  const auto write = [&](const CaptionRecord& record) {
    const Hit& hit = result.hits[static_cast<size_t>(response.hits_size())];
    v1::CaptionHit& added = *response.add_hits();
    added.set_id(record.id);
    added.set_score(hit.score);
    added.set_text(record.text);
    added.set_image_id(record.image_id);
    added.set_uri(record.uri);
    if (want.payload) status.Update(WritePayloadAndTimes(record, added));
    if (want.details) *added.mutable_details() = WriteDetails(hit);
  };
  RETURN_IF_ERROR(view.VisitCaptions(RowsOf(result), PartsFor(want), write));
  RETURN_IF_ERROR(status);
  if (want.details) *response.mutable_stats() = WriteStats(result, timings);
  WriteDegradation(result, response);
  response.set_gallery_version(view.info().version);
  response.set_model_fingerprint(model_.fingerprint);
  return response;
}

absl::StatusOr<v1::ExplainPairResponse> ResponseWriter::WriteExplanation(
    const GalleryView& view, const PairQuery& query, const ExplainedPair& pair) const {
  v1::ExplainPairResponse response;
  response.mutable_words()->Add(pair.words.begin(), pair.words.end());
  response.set_num_regions(pair.explanation.num_regions);
  response.set_text_truncated(pair.text_truncated);
  response.set_coarse_score(pair.coarse_score);
  if (const auto* stored = std::get_if<GalleryImageQuery>(&query.image)) {
    ASSIGN_OR_RETURN(const ImageRecord record, view.ReadImage(stored->row));
    response.set_image_uri(record.uri);
    response.set_image_width(record.width);
    response.set_image_height(record.height);
    for (size_t b = 0; b + 4 <= record.boxes.size(); b += 4) {
      v1::Box& box = *response.add_boxes();
      box.set_left(record.boxes[b]);
      box.set_top(record.boxes[b + 1]);
      box.set_right(record.boxes[b + 2]);
      box.set_bottom(record.boxes[b + 3]);
    }
  }
  float sum = 0;
  for (Direction direction : kDirections) {
    const auto& part = pair.explanation.directions[static_cast<int>(direction)];
    if (!part.has_value()) continue;
    sum += part->score;
    v1::DirectionExplanation& added = *response.add_directions();
    added.set_direction(ToProto(direction));
    added.set_score(part->score);
    *added.mutable_routing() = WriteRouting(direction, part->paths);
    for (int layer = 0; layer < kNumRoutingLayers; ++layer) {
      const PairExplanation::Layer& from = part->layers[layer];
      v1::CellAttention& cell = *added.add_cells();
      cell.set_layer(layer);
      cell.set_cell(v1::CELL_CMRC);
      cell.set_weight(from.weight);
      cell.mutable_attention()->Add(from.attention.begin(), from.attention.end());
    }
  }
  if (response.directions_size() > 0) {
    response.set_rerank_score(sum / static_cast<float>(response.directions_size()));
  }
  response.set_model_fingerprint(model_.fingerprint);
  return response;
}

v1::GetInfoResponse ResponseWriter::WriteInfo(absl::string_view server_version,
                                              absl::Time start_time,
                                              const SearchLimits& limits) const {
  v1::GetInfoResponse response;
  response.set_server_version(std::string(server_version));
  *response.mutable_start_time() = ToProtoTimestamp(start_time);
  v1::Limits& proto = *response.mutable_limits();
  proto.set_max_top_k(limits.max_top_k);
  proto.set_max_rerank_depth(limits.max_rerank_depth);
  proto.set_default_rerank_depth(limits.DefaultRerankDepth(Modality::kImage));
  proto.set_max_exact_items(limits.max_exact_items);
  proto.set_max_text_characters(limits.max_text_characters);
  proto.set_max_search_effort(limits.max_search_effort);
  proto.set_max_request_bytes(limits.max_request_bytes);
  proto.set_default_search_effort(limits.DefaultSearchEffort(Modality::kImage));
  proto.set_default_caption_rerank_depth(limits.DefaultRerankDepth(Modality::kCaption));
  proto.set_default_caption_search_effort(limits.DefaultSearchEffort(Modality::kCaption));
  proto.set_max_filter_bytes(ItemFilter::kMaxBytes);
  proto.set_max_batch_queries(limits.max_batch_queries);
  *proto.mutable_page_token_ttl() = ToProtoDuration(limits.page_token_ttl);
  proto.set_max_outstanding_items(limits.max_outstanding_items);
  proto.set_max_delete_ids(limits.max_delete_ids);
  proto.set_max_list_page_size(limits.max_list_page_size);
  *response.mutable_model() = WriteModel(model_);
  return response;
}

v1::GalleryInfo ResponseWriter::WriteGallery(const GalleryView& view, bool writable) const {
  v1::GalleryInfo proto;
  proto.set_name(view.info().name);
  proto.set_version(view.info().version);
  proto.set_image_count(view.size(Modality::kImage));
  proto.set_caption_count(view.size(Modality::kCaption));
  proto.set_image_index(view.info().image_index);
  proto.set_caption_index(view.info().caption_index);
  proto.set_writable(writable);
  proto.set_lineage(view.info().lineage);
  return proto;
}

}  // namespace dime
