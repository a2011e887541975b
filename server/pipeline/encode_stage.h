#ifndef DIME_SERVER_PIPELINE_ENCODE_STAGE_H_
#define DIME_SERVER_PIPELINE_ENCODE_STAGE_H_

#include "absl/status/statusor.h"
#include "index/gallery.h"
#include "model/caption_encoder.h"
#include "model/image_encoder.h"
#include "server/pipeline/search_types.h"

namespace dime {

// The first stage of a search: a query becomes what recall and reranking take. Texts and region
// features go through the model's encoders; an image of the gallery has its features stored.
// Immutable, hence thread-safe. The encoders must outlive it.
class EncodeStage {
 public:
  EncodeStage(const CaptionEncoder* caption_encoder, const ImageEncoder* image_encoder)
      : caption_encoder_(caption_encoder), image_encoder_(image_encoder) {}

  // `view`: what the rows of the query are of. INVALID_ARGUMENT if the query itself is at fault,
  // such as features too large to encode; DATA_LOSS if stored features are damaged.
  absl::StatusOr<EncodedQuery> Run(const GalleryView& view, const Query& query) const;

 private:
  absl::StatusOr<EncodedQuery> EncodeText(const TextQuery& query) const;
  absl::StatusOr<EncodedQuery> EncodeFeatures(const RegionFeaturesQuery& query) const;

  const CaptionEncoder* const caption_encoder_;
  const ImageEncoder* const image_encoder_;
};

}  // namespace dime

#endif  // DIME_SERVER_PIPELINE_ENCODE_STAGE_H_
