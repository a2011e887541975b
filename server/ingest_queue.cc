#include "server/ingest_queue.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "index/float_bits.h"
#include "index/thread_priority.h"
#include "server/pipeline/stopwatch.h"

namespace dime {
namespace {

// What an item holds besides its features, roughly.
constexpr int64_t kItemBytes = 1024;

int64_t BytesOf(const ImageToWrite& item) {
  return kItemBytes + static_cast<int64_t>(item.features.size() * sizeof(float));
}
int64_t BytesOf(const CaptionToWrite& item) {
  return kItemBytes + static_cast<int64_t>(item.record.text.size());
}

bool AllFinite(const EncodedItemsView& items) {
  return FindNonFinite(items.coarse) < 0 &&
         std::all_of(items.directions.begin(), items.directions.end(),
                     [](const DirectionFeaturesView& features) {
                       return FindNonFinite(features.local) < 0 &&
                              FindNonFinite(features.global) < 0;
                     });
}

// One status for each item, by `encode(first, count)` of so many items and `write(first, items)` of
// what that gave: all at once if the model takes them so, else one by one.
template <typename Encode, typename Write>
std::vector<absl::Status> EncodeAndWrite(int64_t count, const Encode& encode, const Write& write,
                                         IngestQueue::BatchStats& stats) {
  const auto encode_and_write = [&](int64_t first, int64_t n, std::vector<absl::Status>& statuses) {
    Stopwatch stopwatch;
    absl::StatusOr<EncodedItems> encoded = encode(first, n);
    if (encoded.ok() && !AllFinite(encoded->view())) {
      encoded = absl::InvalidArgumentError(
          "the values are so large that the model's encoding of them is not finite");
    }
    stats.encoding += stopwatch.Lap();
    if (!encoded.ok()) {
      if (n == 1) statuses.push_back(encoded.status());
      return false;
    }
    const absl::StatusOr<std::vector<absl::Status>> written = write(first, *encoded);
    stats.writing += stopwatch.Lap();
    if (written.ok()) {
      statuses.insert(statuses.end(), written->begin(), written->end());
    } else {
      statuses.insert(statuses.end(), n, written.status());
    }
    return true;
  };
  std::vector<absl::Status> statuses;
  if (!encode_and_write(0, count, statuses) && count > 1) {
    for (int64_t i = 0; i < count; ++i) encode_and_write(i, 1, statuses);
  }
  return statuses;
}

}  // namespace

IngestQueue::IngestQueue(MutableGallery* gallery, const CaptionEncoder* caption_encoder,
                         const ImageEncoder* image_encoder, int num_regions, Options options)
    : gallery_(gallery),
      caption_encoder_(caption_encoder),
      image_encoder_(image_encoder),
      num_regions_(num_regions),
      options_(std::move(options)) {
  threads_[0] = std::thread([this] {
    Run(images_, options_.max_batch_images,
        [this](std::vector<Job<ImageToWrite>>& batch, BatchStats& stats) {
          stats.modality = Modality::kImage;
          return WriteImages(batch, stats);
        });
  });
  threads_[1] = std::thread([this] {
    Run(captions_, options_.max_batch_captions,
        [this](std::vector<Job<CaptionToWrite>>& batch, BatchStats& stats) {
          stats.modality = Modality::kCaption;
          return WriteCaptions(batch, stats);
        });
  });
}

IngestQueue::~IngestQueue() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    images_.changed.notify_all();
    captions_.changed.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
}

bool IngestQueue::TrySubmit(ImageToWrite item, Done done) {
  const int64_t bytes = BytesOf(item);
  std::lock_guard<std::mutex> lock(mutex_);
  return Submit(images_, {.item = std::move(item), .done = std::move(done), .bytes = bytes});
}

bool IngestQueue::TrySubmit(CaptionToWrite item, Done done) {
  const int64_t bytes = BytesOf(item);
  std::lock_guard<std::mutex> lock(mutex_);
  return Submit(captions_, {.item = std::move(item), .done = std::move(done), .bytes = bytes});
}

template <typename Item>
bool IngestQueue::Submit(Lane<Item>& lane, Job<Item> job) {
  if (size_.items > 0 && size_.bytes + job.bytes > options_.max_queued_bytes) return false;
  ++size_.items;
  size_.bytes += job.bytes;
  lane.jobs.push_back(std::move(job));
  lane.changed.notify_one();
  return true;
}

IngestQueue::Size IngestQueue::size() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return size_;
}

template <typename Item, typename Process>
void IngestQueue::Run(Lane<Item>& lane, size_t max_batch, Process process) {
  TakeLowPriority();
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    lane.changed.wait(lock, [this, &lane] { return stopping_ || !lane.jobs.empty(); });
    if (lane.jobs.empty()) return;  // stopping, and nothing left
    std::vector<Job<Item>> batch;
    // An id that comes again waits for the next batch, so that the later write wins.
    absl::flat_hash_set<std::string> ids;
    while (!lane.jobs.empty() && batch.size() < max_batch &&
           ids.insert(lane.jobs.front().item.record.id).second) {
      batch.push_back(std::move(lane.jobs.front()));
      lane.jobs.pop_front();
    }
    lock.unlock();

    BatchStats stats;
    stats.items = static_cast<int64_t>(batch.size());
    std::vector<absl::Status> statuses = process(batch, stats);
    statuses.resize(batch.size(), absl::InternalError("the gallery gave no status for the item"));
    stats.written = std::count(statuses.begin(), statuses.end(), absl::OkStatus());
    if (options_.on_batch) options_.on_batch(stats);

    int64_t bytes = 0;
    for (const Job<Item>& job : batch) bytes += job.bytes;
    lock.lock();
    size_.items -= static_cast<int64_t>(batch.size());
    size_.bytes -= bytes;
    lock.unlock();
    for (size_t i = 0; i < batch.size(); ++i) batch[i].done(statuses[i]);
    batch.clear();
    lock.lock();
  }
}

std::vector<absl::Status> IngestQueue::WriteImages(std::vector<Job<ImageToWrite>>& batch,
                                                   BatchStats& stats) {
  std::vector<ImageRecord> records;
  std::vector<float> features;  // (count, R, D)
  for (Job<ImageToWrite>& job : batch) {
    records.push_back(std::move(job.item.record));
    features.insert(features.end(), job.item.features.begin(), job.item.features.end());
  }
  const size_t size = features.size() / batch.size();
  const auto features_of = [&features, size](int64_t first, int64_t count) {
    return absl::MakeConstSpan(features).subspan(first * size, count * size);
  };
  return EncodeAndWrite(
      static_cast<int64_t>(batch.size()),
      [&](int64_t first, int64_t count) {
        return image_encoder_->EncodeImages(count, num_regions_, features_of(first, count));
      },
      [&](int64_t first, const EncodedItems& items) {
        return gallery_->UpsertImages(absl::MakeConstSpan(records).subspan(first, items.count),
                                      items.view(), features_of(first, items.count));
      },
      stats);
}

std::vector<absl::Status> IngestQueue::WriteCaptions(std::vector<Job<CaptionToWrite>>& batch,
                                                     BatchStats& stats) {
  std::vector<CaptionRecord> records;
  std::vector<std::string> texts;
  for (Job<CaptionToWrite>& job : batch) {
    texts.push_back(job.item.record.text);
    records.push_back(std::move(job.item.record));
  }
  return EncodeAndWrite(
      static_cast<int64_t>(batch.size()),
      [&](int64_t first, int64_t count) {
        return caption_encoder_->EncodeCaptions(absl::MakeConstSpan(texts).subspan(first, count));
      },
      [&](int64_t first, const EncodedItems& items) {
        return gallery_->UpsertCaptions(absl::MakeConstSpan(records).subspan(first, items.count),
                                        items.view());
      },
      stats);
}

}  // namespace dime
