#include "model/batching_caption_encoder.h"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace dime {

BatchingCaptionEncoder::BatchingCaptionEncoder(const CaptionEncoder* encoder, Options options)
    : encoder_(encoder), options_(std::move(options)) {}

absl::StatusOr<EncodedItems> BatchingCaptionEncoder::EncodeCaptions(
    absl::Span<const std::string> captions) const {
  if (captions.size() != 1) return encoder_->EncodeCaptions(captions);
  Waiter waiter{.caption = captions[0]};
  std::unique_lock<std::mutex> lock(mutex_);
  waiting_.push_back(&waiter);
  waiter.changed.wait(
      lock, [this, &waiter] { return waiter.done || (!encoding_ && waiting_.front() == &waiter); });
  if (waiter.done) return std::move(waiter.encoded);

  encoding_ = true;
  const size_t count = std::min<size_t>(waiting_.size(), options_.max_batch);
  const std::vector<Waiter*> batch(waiting_.begin(), waiting_.begin() + count);
  waiting_.erase(waiting_.begin(), waiting_.begin() + count);
  lock.unlock();
  Encode(batch);
  lock.lock();
  encoding_ = false;
  if (!waiting_.empty()) waiting_.front()->changed.notify_one();
  for (Waiter* const other : batch) {
    // With the lock, for it may be gone right after.
    other->done = true;
    other->changed.notify_one();
  }
  return std::move(waiter.encoded);
}

void BatchingCaptionEncoder::Encode(absl::Span<Waiter* const> batch) const {
  if (options_.on_batch) options_.on_batch(static_cast<int>(batch.size()));
  std::vector<std::string> captions;
  captions.reserve(batch.size());
  for (const Waiter* const waiter : batch) captions.push_back(waiter->caption);
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
