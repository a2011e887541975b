#include "model/batching_caption_encoder.h"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace dime {

BatchingCaptionEncoder::BatchingCaptionEncoder(const CaptionEncoder* encoder, Options options)
    : encoder_(encoder),
      options_(std::move(options)),
      calls_(static_cast<size_t>(std::max(1, options_.max_batch))) {}

absl::StatusOr<EncodedItems> BatchingCaptionEncoder::EncodeCaptions(
    absl::Span<const std::string> captions) const {
  if (captions.size() != 1) return encoder_->EncodeCaptions(captions);
  Item item{.caption = captions[0]};
  calls_.Run(item, [this](absl::Span<Item* const> batch) { Encode(batch); });
  return std::move(item.encoded);
}

void BatchingCaptionEncoder::Encode(absl::Span<Item* const> batch) const {
  if (options_.on_batch) options_.on_batch(static_cast<int>(batch.size()));
  std::vector<std::string> captions;
  captions.reserve(batch.size());
  for (const Item* const item : batch) captions.push_back(item->caption);
  absl::StatusOr<EncodedItems> encoded = encoder_->EncodeCaptions(captions);
  if (batch.size() == 1) {
    batch[0]->encoded = std::move(encoded);
    return;
  }
  for (size_t i = 0; i < batch.size(); ++i) {
    const auto place = static_cast<int64_t>(i);
    batch[i]->encoded = encoded.ok()
                            ? absl::StatusOr<EncodedItems>(
                                  CopyItems(encoded->view(), absl::MakeConstSpan(&place, 1)))
                            : encoder_->EncodeCaptions(absl::MakeConstSpan(&captions[i], 1));
  }
}

}  // namespace dime
