#ifndef DIME_SERVER_INGEST_QUEUE_H_
#define DIME_SERVER_INGEST_QUEUE_H_

#include <array>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "index/mutable_gallery.h"
#include "model/caption_encoder.h"
#include "model/image_encoder.h"

namespace dime {

// What is to be written: a record, and for an image its region features, all checked.
struct ImageToWrite {
  ImageRecord record;
  std::vector<float> features;  // (R, D), finite
};
struct CaptionToWrite {
  CaptionRecord record;
};

// The way of items from many streams into the gallery. Images and captions each have a thread,
// which takes what waits, up to a batch, encodes it in one call of the model and writes it in one
// call of the gallery; so items of one kind are written in the order in which they came. A batch
// that the model refuses is tried item by item, so that one bad item costs one error. The queue is
// bounded in bytes: what does not fit is refused at once. The threads run at a low priority, since
// searches have people waiting for them. Thread-safe. Gallery and encoders must outlive it;
// destruction first finishes all that was taken.
class IngestQueue {
 public:
  // Called once for each item taken, on the thread that wrote it, without any lock: OK means that
  // it is on disk and searches find it. INVALID_ARGUMENT: the item is at fault. Else the gallery's
  // error.
  using Done = std::function<void(const absl::Status&)>;
  // What one batch took, for metrics.
  struct BatchStats {
    Modality modality = Modality::kImage;
    int64_t items = 0;
    int64_t written = 0;  // without an error
    absl::Duration encoding;
    absl::Duration writing;
  };
  struct Options {
    int64_t max_queued_bytes = 256 << 20;
    int max_batch_images = 32;
    int max_batch_captions = 64;
    std::function<void(const BatchStats&)> on_batch;  // on the writing thread; may be empty
  };

  IngestQueue(MutableGallery* gallery, const CaptionEncoder* caption_encoder,
              const ImageEncoder* image_encoder, int num_regions, Options options);
  ~IngestQueue();
  IngestQueue(const IngestQueue&) = delete;
  IngestQueue& operator=(const IngestQueue&) = delete;

  // False, with nothing taken, if the queue is full. An empty queue takes any item.
  bool TrySubmit(ImageToWrite item, Done done) ABSL_LOCKS_EXCLUDED(mutex_);
  bool TrySubmit(CaptionToWrite item, Done done) ABSL_LOCKS_EXCLUDED(mutex_);

  // Items that were taken and are not written yet, and their size.
  struct Size {
    int64_t items = 0;
    int64_t bytes = 0;
  };
  Size size() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  template <typename Item>
  struct Job {
    Item item;
    Done done;
    int64_t bytes = 0;
  };
  template <typename Item>
  struct Lane {
    std::deque<Job<Item>> jobs;
    std::condition_variable changed;
  };

  template <typename Item>
  bool Submit(Lane<Item>& lane, Job<Item> job);
  // A lane's thread. `process` gives the statuses of a batch's items.
  template <typename Item, typename Process>
  void Run(Lane<Item>& lane, size_t max_batch, Process process);

  std::vector<absl::Status> WriteImages(std::vector<Job<ImageToWrite>>& batch, BatchStats& stats);
  std::vector<absl::Status> WriteCaptions(std::vector<Job<CaptionToWrite>>& batch,
                                          BatchStats& stats);

  MutableGallery* const gallery_;
  const CaptionEncoder* const caption_encoder_;
  const ImageEncoder* const image_encoder_;
  const int num_regions_;  // R
  const Options options_;
  mutable std::mutex mutex_;
  Lane<ImageToWrite> images_ ABSL_GUARDED_BY(mutex_);
  Lane<CaptionToWrite> captions_ ABSL_GUARDED_BY(mutex_);
  Size size_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::array<std::thread, 2> threads_;  // last: they use all of the above
};

}  // namespace dime

#endif  // DIME_SERVER_INGEST_QUEUE_H_
