#ifndef DIME_MODEL_BATCHING_CAPTION_ENCODER_H_
#define DIME_MODEL_BATCHING_CAPTION_ENCODER_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/caption_encoder.h"

namespace dime {

// Lets concurrent queries share calls of a CaptionEncoder: while one is under way, further captions
// wait, and the next call takes all of them, up to `max_batch`. Work-conserving: a caption that
// finds nothing under way is encoded at once. Whoever is first among those that wait makes the
// call, in its own thread; so there are never two at a time, which would only share the cores. If a
// call fails, its captions are tried one by one. Calls with several captions pass through as they
// are. Thread-safe. The encoder must outlive it.
class BatchingCaptionEncoder : public CaptionEncoder {
 public:
  struct Options {
    int max_batch = 32;                 // captions of one call; at least 1
    std::function<void(int)> on_batch;  // told the captions of each call; may be empty
  };
  BatchingCaptionEncoder(const CaptionEncoder* encoder, Options options);

  absl::StatusOr<EncodedItems> EncodeCaptions(absl::Span<const std::string> captions) const override
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<bool> IsTruncated(const std::string& caption) const override {
    return encoder_->IsTruncated(caption);
  }

 private:
  // A caption on its way, on its caller's stack.
  struct Waiter {
    const std::string& caption;
    absl::StatusOr<EncodedItems> encoded = absl::UnknownError("not encoded");
    bool done = false;
    std::condition_variable changed{};
  };

  // Fills in what becomes of them.
  void Encode(absl::Span<Waiter* const> batch) const ABSL_LOCKS_EXCLUDED(mutex_);

  const CaptionEncoder* const encoder_;
  const Options options_;
  mutable std::mutex mutex_;
  mutable std::deque<Waiter*> waiting_ ABSL_GUARDED_BY(mutex_);
  mutable bool encoding_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace dime

#endif  // DIME_MODEL_BATCHING_CAPTION_ENCODER_H_
