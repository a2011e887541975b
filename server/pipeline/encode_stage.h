#ifndef DIME_SERVER_PIPELINE_ENCODE_STAGE_H_
#define DIME_SERVER_PIPELINE_ENCODE_STAGE_H_

#include "absl/status/statusor.h"
#include "index/gallery.h"
#include "model/caption_encoder.h"
#include "model/image_encoder.h"
#include "server/pipeline/search_types.h"

namespace dime {

// The first stage of a search: a query becomes what recall and reranking take. Texts and region
// features go through the model's encoders; an image of the gallery has its features stored, and
// costs nothing.
// Immutable, hence thread-safe. Encoders and gallery must outlive it and what it returns.
class EncodeStage {
 public:
  EncodeStage(const CaptionEncoder* caption_encoder, const ImageEncoder* image_encoder,
              const Gallery* gallery)
      : caption_encoder_(caption_encoder), image_encoder_(image_encoder), gallery_(gallery) {}

  // INVALID_ARGUMENT if the query itself is at fault, such as features too large to encode.
  absl::StatusOr<EncodedQuery> Run(const Query& query) const;

 private:
  absl::StatusOr<EncodedQuery> EncodeText(const TextQuery& query) const;
  absl::StatusOr<EncodedQuery> EncodeFeatures(const RegionFeaturesQuery& query) const;

  const CaptionEncoder* const caption_encoder_;
  const ImageEncoder* const image_encoder_;
  const Gallery* const gallery_;
};

}  // namespace dime

#endif  // DIME_SERVER_PIPELINE_ENCODE_STAGE_H_
