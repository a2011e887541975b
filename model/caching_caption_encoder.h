#ifndef DIME_MODEL_CACHING_CAPTION_ENCODER_H_
#define DIME_MODEL_CACHING_CAPTION_ENCODER_H_

#include <cstdint>
#include <list>
#include <mutex>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/caption_encoder.h"

namespace dime {

// Keeps what an encoder made of the captions that were asked for lately, up to a bound on memory;
// the least recently used go. For queries, of which many come again: only calls with one caption
// are looked up and kept, others pass through. Errors are not kept.
// Thread-safe. The encoder must outlive it. A caption that is asked for by several callers while it
// is not there is encoded for each.
class CachingCaptionEncoder : public CaptionEncoder {
 public:
  struct Counts {
    int64_t hits = 0;
    int64_t misses = 0;
    int64_t bytes = 0;  // that are kept
  };

  // `max_bytes`: 0 keeps nothing.
  CachingCaptionEncoder(const CaptionEncoder* encoder, int64_t max_bytes)
      : encoder_(encoder), max_bytes_(max_bytes) {}

  absl::StatusOr<EncodedItems> EncodeCaptions(absl::Span<const std::string> captions) const override
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Not kept: it costs little.
  absl::StatusOr<bool> IsTruncated(const std::string& caption) const override {
    return encoder_->IsTruncated(caption);
  }

  Counts counts() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Entry {
    std::string caption;
    EncodedItems encoded;
    int64_t bytes = 0;
  };

  const CaptionEncoder* const encoder_;
  const int64_t max_bytes_;
  mutable std::mutex mutex_;
  mutable std::list<Entry> entries_ ABSL_GUARDED_BY(mutex_);  // the latest used first
  // Keys are the entries' captions.
  mutable absl::flat_hash_map<absl::string_view, std::list<Entry>::iterator> by_caption_
      ABSL_GUARDED_BY(mutex_);
  mutable Counts counts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dime

#endif  // DIME_MODEL_CACHING_CAPTION_ENCODER_H_
