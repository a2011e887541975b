#ifndef DIME_INDEX_MUTABLE_GALLERY_H_
#define DIME_INDEX_MUTABLE_GALLERY_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "index/features.h"
#include "index/gallery.h"
#include "index/item_records.h"

namespace dime {

// How a gallery that is written to stands.
struct GalleryStats {
  struct Side {
    int64_t items = 0;
    int64_t indexed = 0;     // rows in the coarse index, dead ones included
    int64_t tail = 0;        // rows written since it was built, which are scanned exactly
    int64_t tombstones = 0;  // rows of index and tail that are dead
  };
  std::array<Side, 2> sides;  // by Modality
  int64_t sequence = 0;       // of the latest write; grows with each item written or deleted
  int64_t bytes_on_disk = 0;  // of the whole directory
  absl::Time last_merge = absl::InfinitePast();  // when the tail last went into an index
  int64_t merges = 0;                            // since the gallery was opened
  bool merging = false;                          // one is under way
  bool keeps_raw_features = false;               // what images were encoded from is kept too
};

// A gallery that is written to while others search it.
//
// What every implementation keeps to: an item is written whole or not at all; a call returns when
// all that it wrote is durable, and each Pin() that begins after that sees it. Writing an id that
// is there replaces the item and keeps its create_time; update_time is the gallery's clock's.
// Writing the same item twice leaves the same item. Statuses come one for each item, in the items'
// order: one item's fault (INVALID_ARGUMENT, naming what is wrong with it) does not keep the others
// from being written; of an id that comes twice in a call the later item stays. If the call itself
// fails, because of its features' sizes (INVALID_ARGUMENT) or because the store takes no more
// (RESOURCE_EXHAUSTED for a full disk, else UNAVAILABLE), then a first part of the items may have
// been written, and writing all of them again is harmless.
// Thread-safe.
class MutableGallery : public Gallery {
 public:
  // `records`: one for each of the items of `features`, whose sizes must be the gallery's.
  // create_time and update_time of a record are not looked at. `raw`: what the images were encoded
  // from, (n, R, D) float32, kept where the gallery keeps raw features (and needed there); or
  // empty.
  virtual absl::StatusOr<std::vector<absl::Status>> UpsertImages(
      absl::Span<const ImageRecord> records, const EncodedItemsView& features,
      absl::Span<const float> raw) = 0;
  virtual absl::StatusOr<std::vector<absl::Status>> UpsertCaptions(
      absl::Span<const CaptionRecord> records, const EncodedItemsView& features) = 0;
  // NOT_FOUND for an id that is not there.
  virtual absl::StatusOr<std::vector<absl::Status>> Delete(Modality modality,
                                                           absl::Span<const std::string> ids) = 0;

  virtual absl::StatusOr<GalleryStats> Stats() const = 0;
  // A copy of one version, in a directory that is not there yet, while writes and searches go on;
  // it is opened like any other gallery. ALREADY_EXISTS if the directory is there.
  virtual absl::Status CreateSnapshot(const std::string& directory) const = 0;
};

}  // namespace dime

#endif  // DIME_INDEX_MUTABLE_GALLERY_H_
