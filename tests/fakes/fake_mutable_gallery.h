#ifndef DIME_TESTS_FAKES_FAKE_MUTABLE_GALLERY_H_
#define DIME_TESTS_FAKES_FAKE_MUTABLE_GALLERY_H_

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "index/mutable_gallery.h"
#include "tests/fakes/fake_model.h"

namespace dime {

// A gallery in memory that is written to, for items of FakeModel's sizes. Every view is a copy of
// the whole; recall compares with every item.
// Thread-safe.
class FakeMutableGallery : public MutableGallery {
 public:
  FakeMutableGallery();

  std::shared_ptr<const GalleryView> Pin() const override ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::vector<absl::Status>> UpsertImages(absl::Span<const ImageRecord> records,
                                                         const EncodedItemsView& features,
                                                         absl::Span<const float> raw) override;
  absl::StatusOr<std::vector<absl::Status>> UpsertCaptions(
      absl::Span<const CaptionRecord> records, const EncodedItemsView& features) override;
  absl::StatusOr<std::vector<absl::Status>> Delete(Modality modality,
                                                   absl::Span<const std::string> ids) override;
  absl::StatusOr<GalleryStats> Stats() const override ABSL_LOCKS_EXCLUDED(mutex_);
  // Writes nothing; remembers where one was asked for.
  absl::Status CreateSnapshot(const std::string& directory) const override
      ABSL_LOCKS_EXCLUDED(mutex_);

  std::vector<std::string> snapshots() const ABSL_LOCKS_EXCLUDED(mutex_);
  // The time that writes bear; grows by a second with each call that writes.
  absl::Time now() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Asked before each call that writes; an error becomes the call's. May be empty. Set before use.
  std::function<absl::Status()> on_write;

 private:
  struct Item;
  class View;
  using Items = std::map<int64_t, std::shared_ptr<const Item>>;  // by row

  absl::StatusOr<std::vector<absl::Status>> Upsert(
      Modality modality, int64_t count, const EncodedItemsView& features,
      const std::function<std::shared_ptr<Item>(int64_t place)>& make_item)
      ABSL_LOCKS_EXCLUDED(mutex_);

  mutable std::mutex mutex_;
  std::array<Items, 2> items_ ABSL_GUARDED_BY(mutex_);  // by Modality
  int64_t next_row_ ABSL_GUARDED_BY(mutex_) = 1;
  absl::Time now_ ABSL_GUARDED_BY(mutex_) = absl::FromUnixSeconds(1'700'000'000);
  mutable std::vector<std::string> snapshots_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dime

#endif  // DIME_TESTS_FAKES_FAKE_MUTABLE_GALLERY_H_
