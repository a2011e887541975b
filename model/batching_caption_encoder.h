#ifndef DIME_MODEL_BATCHING_CAPTION_ENCODER_H_
#define DIME_MODEL_BATCHING_CAPTION_ENCODER_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/caption_encoder.h"
#include "model/shared_calls.h"

namespace dime {

// Lets concurrent queries share calls of a CaptionEncoder (see SharedCalls): there are never two at
// a time, which would only share the cores. If a call fails, its captions are tried one by one.
// Calls with several captions pass through as they are. Thread-safe. The encoder must outlive it.
class BatchingCaptionEncoder : public CaptionEncoder {
 public:
  struct Options {
    int max_batch = 32;                 // captions of one call; at least 1
    std::function<void(int)> on_batch;  // told the captions of each call; may be empty
  };
  BatchingCaptionEncoder(const CaptionEncoder* encoder, Options options);

  absl::StatusOr<EncodedItems> EncodeCaptions(
      absl::Span<const std::string> captions) const override;
  absl::StatusOr<bool> IsTruncated(const std::string& caption) const override {
    return encoder_->IsTruncated(caption);
  }

 private:
  struct Item {
    const std::string& caption;
    absl::StatusOr<EncodedItems> encoded = absl::UnknownError("not encoded");
  };

  // Fills in what becomes of them.
  void Encode(absl::Span<Item* const> batch) const;

  const CaptionEncoder* const encoder_;
  const Options options_;
  mutable SharedCalls<Item> calls_;
};

}  // namespace dime

#endif  // DIME_MODEL_BATCHING_CAPTION_ENCODER_H_
