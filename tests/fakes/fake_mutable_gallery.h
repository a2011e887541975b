#ifndef DIME_TESTS_FAKES_FAKE_MUTABLE_GALLERY_H_
#define DIME_TESTS_FAKES_FAKE_MUTABLE_GALLERY_H_

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "index/mutable_gallery.h"

namespace dime {

// A gallery in memory that is written to, with items of FakeModel's sizes. Versions are "v0", "v1"
// and so on; its clock ticks a second a write, from the Unix epoch on. Thread-safe.
class FakeMutableGallery : public MutableGallery {
 public:
  FakeMutableGallery();

  std::shared_ptr<const GalleryView> Pin() const override;
  absl::StatusOr<std::vector<absl::Status>> UpsertImages(absl::Span<const ImageRecord> records,
                                                         const EncodedItemsView& features,
                                                         absl::Span<const float> raw) override;
  absl::StatusOr<std::vector<absl::Status>> UpsertCaptions(
      absl::Span<const CaptionRecord> records, const EncodedItemsView& features) override;
  absl::StatusOr<std::vector<absl::Status>> Delete(Modality modality,
                                                   absl::Span<const std::string> ids) override;
  absl::StatusOr<GalleryStats> Stats() const override;
  // Makes the directory, and leaves it empty.
  absl::Status CreateSnapshot(const std::string& directory) const override;

  // Called at the start of each snapshot, on its thread. To be set before any; may be empty.
  std::function<void()> on_snapshot;

  // Called at the start of each write with the number of its items, on the writer's thread; an
  // error becomes the write's. To be set before any write; may be empty.
  std::function<absl::Status(int64_t items)> on_write;

 private:
  class View;
  struct Item;
  template <typename Record>
  absl::StatusOr<std::vector<absl::Status>> Upsert(Modality modality,
                                                   absl::Span<const Record> records,
                                                   const EncodedItemsView& features);

  mutable std::mutex mutex_;
  std::shared_ptr<const View> view_ ABSL_GUARDED_BY(mutex_);
  int64_t next_row_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t sequence_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace dime

#endif  // DIME_TESTS_FAKES_FAKE_MUTABLE_GALLERY_H_
