#ifndef DIME_MODEL_CAPTION_ENCODER_H_
#define DIME_MODEL_CAPTION_ENCODER_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "index/features.h"

namespace dime {

// Turns captions into what recall and reranking need of them: words (L, E), sentence (E), the
// number of tokens, and the coarse embedding. Implementations are thread-safe.
class CaptionEncoder {
 public:
  virtual ~CaptionEncoder() = default;
  // Captions are UTF-8; longer ones are cut to L - 2 tokens. An item's features do not depend on
  // the others in the call beyond rounding. INVALID_ARGUMENT for invalid UTF-8.
  virtual absl::StatusOr<EncodedItems> EncodeCaptions(
      absl::Span<const std::string> captions) const = 0;
  // Whether a caption has more tokens than the model takes, so that encoding cuts it.
  virtual absl::StatusOr<bool> IsTruncated(const std::string& caption) const = 0;
};

}  // namespace dime

#endif  // DIME_MODEL_CAPTION_ENCODER_H_
