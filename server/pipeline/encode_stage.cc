#include "server/pipeline/encode_stage.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "index/status_macros.h"

namespace dime {
namespace {

bool AllFinite(absl::Span<const float> values) {
  return std::all_of(values.begin(), values.end(),
                     [](float value) { return std::isfinite(value); });
}

bool AllFinite(const EncodedItemsView& items) {
  return AllFinite(items.coarse) && std::all_of(items.directions.begin(), items.directions.end(),
                                                [](const DirectionFeaturesView& features) {
                                                  return AllFinite(features.local) &&
                                                         AllFinite(features.global);
                                                });
}

}  // namespace

absl::StatusOr<EncodedQuery> EncodeStage::Run(const GalleryView& view, const Query& query) const {
  if (const auto* text = std::get_if<TextQuery>(&query)) return EncodeText(*text);
  if (const auto* features = std::get_if<RegionFeaturesQuery>(&query)) {
    return EncodeFeatures(*features);
  }
  const int64_t row = std::get<GalleryImageQuery>(query).row;
  ASSIGN_OR_RETURN(EncodedItems stored,
                   view.ReadFeatures(Modality::kImage, absl::MakeConstSpan(&row, 1)));
  return EncodedQuery(std::move(stored), /*text_truncated=*/false);
}

absl::StatusOr<EncodedQuery> EncodeStage::EncodeText(const TextQuery& query) const {
  ASSIGN_OR_RETURN(EncodedItems encoded,
                   caption_encoder_->EncodeCaptions(absl::MakeConstSpan(&query.text, 1)));
  if (!AllFinite(encoded.view())) {
    return absl::InternalError("the model's encoding of the text is not finite");
  }
  ASSIGN_OR_RETURN(const bool truncated, caption_encoder_->IsTruncated(query.text));
  return EncodedQuery(std::move(encoded), truncated);
}

absl::StatusOr<EncodedQuery> EncodeStage::EncodeFeatures(const RegionFeaturesQuery& query) const {
  ASSIGN_OR_RETURN(EncodedItems encoded,
                   image_encoder_->EncodeImages(1, query.num_regions, query.values));
  // Finite features can still overflow float32 within the model.
  if (!AllFinite(encoded.view())) {
    return absl::InvalidArgumentError(
        "the values are so large that the model's encoding of them is not finite");
  }
  return EncodedQuery(std::move(encoded), /*text_truncated=*/false);
}

}  // namespace dime
