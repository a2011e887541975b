#include "model/caching_caption_encoder.h"

#include <utility>

#include "index/status_macros.h"

namespace dime {
namespace {

int64_t BytesOf(const EncodedItems& items) {
  size_t floats = items.coarse.size() + items.lengths.size();
  for (const DirectionFeatures& features : items.directions) {
    floats += features.local.size() + features.global.size();
  }
  return static_cast<int64_t>(floats * sizeof(float));
}

}  // namespace

absl::StatusOr<EncodedItems> CachingCaptionEncoder::EncodeCaptions(
    absl::Span<const std::string> captions) const {
  if (captions.size() != 1 || max_bytes_ <= 0) return encoder_->EncodeCaptions(captions);
  const std::string& caption = captions[0];
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto found = by_caption_.find(caption);
    if (found != by_caption_.end()) {
      ++counts_.hits;
      entries_.splice(entries_.begin(), entries_, found->second);
      return found->second->encoded;
    }
    ++counts_.misses;
  }
  ASSIGN_OR_RETURN(EncodedItems encoded, encoder_->EncodeCaptions(captions));
  const int64_t bytes =
      BytesOf(encoded) + static_cast<int64_t>(caption.size() + sizeof(Entry) + 4 * sizeof(void*));
  if (bytes > max_bytes_) return encoded;
  std::lock_guard<std::mutex> lock(mutex_);
  if (by_caption_.contains(caption)) return encoded;  // another caller was quicker
  entries_.push_front({.caption = caption, .encoded = encoded, .bytes = bytes});
  by_caption_.emplace(entries_.front().caption, entries_.begin());
  counts_.bytes += bytes;
  while (counts_.bytes > max_bytes_) {
    const Entry& last = entries_.back();
    counts_.bytes -= last.bytes;
    by_caption_.erase(last.caption);
    entries_.pop_back();
  }
  return encoded;
}

CachingCaptionEncoder::Counts CachingCaptionEncoder::counts() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return counts_;
}

}  // namespace dime
