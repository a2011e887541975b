#ifndef DIME_MODEL_IMAGE_ENCODER_H_
#define DIME_MODEL_IMAGE_ENCODER_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "index/features.h"

namespace dime {

// Turns region features into what recall and reranking need of an image: regions (R, E), image (E),
// and the coarse embedding. Implementations are thread-safe.
class ImageEncoder {
 public:
  virtual ~ImageEncoder() = default;
  // `features`: (count, num_regions, D) float32 row-major, finite. INVALID_ARGUMENT if the sizes do
  // not multiply to features.size().
  virtual absl::StatusOr<EncodedItems> EncodeImages(int64_t count, int num_regions,
                                                    absl::Span<const float> features) const = 0;
};

}  // namespace dime

#endif  // DIME_MODEL_IMAGE_ENCODER_H_
