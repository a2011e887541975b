#ifndef DIME_INDEX_GALLERY_H_
#define DIME_INDEX_GALLERY_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "index/coarse_index.h"
#include "index/features.h"
#include "index/item_records.h"

namespace dime {

class ItemFilter;  // index/item_filter.h

// Facts about one version of a gallery.
struct GalleryInfo {
  std::string name;     // the directory's last component
  std::string version;  // names this version of the content; changes with every write
  // Names the gallery whatever is written to it; of one that is only ever built, its version.
  std::string lineage;
  std::string model_fingerprint;  // of the model whose features it holds
  std::string image_index;        // see CoarseIndex::description()
  std::string caption_index;
  int num_regions = 0;  // R; 0 if unknown
  int max_words = 0;    // L; 0 if unknown
};

// How the first stage is searched.
struct RecallOptions {
  int effort = 0;      // see CoarseIndex::SearchOptions; 0 = the index's own default
  bool exact = false;  // compares with every item instead of asking the index
  // Only items that match are candidates; null = all are. It is evaluated first, so that there are
  // k candidates wherever so many match; where few do, these are compared with one by one.
  const ItemFilter* filter = nullptr;
};

// One version of a gallery, the collection that is searched: images and captions with their
// records and encoded features. What a search sees from start to end, whatever is written to the
// gallery meanwhile. Items have an id (the user's string) and a row, which names one written
// version of one item: an item that is written again gets another row, and no row is given twice. A
// view answers for the rows that are alive in it, and these alone; others are the caller's mistake,
// which gets NOT_FOUND where it is noticed. Immutable, hence thread-safe. Its gallery must outlive
// it.
class GalleryView {
 public:
  virtual ~GalleryView() = default;

  virtual const GalleryInfo& info() const = 0;
  virtual int64_t size(Modality modality) const = 0;  // items
  // The sizes of all features of this kind: a view of no items. Zero where they are unknown, as in
  // a gallery that was built without such items.
  virtual EncodedItemsView shape(Modality modality) const = 0;

  // The row of an id; NOT_FOUND, naming the id, if there is no such item.
  virtual absl::StatusOr<int64_t> FindRow(Modality modality, absl::string_view id) const = 0;
  // All rows, ascending.
  virtual std::vector<int64_t> ListRows(Modality modality) const = 0;
  // Up to `limit` ids that come after `after_id`, ascending by their bytes; "" is before all.
  virtual absl::StatusOr<std::vector<std::string>> ListIds(Modality modality,
                                                           absl::string_view after_id,
                                                           int64_t limit) const = 0;

  // Shows the records of `rows` in their order, by one batch read; a record is there for the call
  // alone. DATA_LOSS if the store is damaged, perhaps after some were shown.
  virtual absl::Status VisitImages(absl::Span<const int64_t> rows, RecordParts parts,
                                   absl::FunctionRef<void(const ImageRecord&)> visit) const = 0;
  virtual absl::Status VisitCaptions(absl::Span<const int64_t> rows, RecordParts parts,
                                     absl::FunctionRef<void(const CaptionRecord&)> visit) const = 0;
  // The same, whole and to keep.
  absl::StatusOr<std::vector<ImageRecord>> ReadImages(absl::Span<const int64_t> rows) const;
  absl::StatusOr<std::vector<CaptionRecord>> ReadCaptions(absl::Span<const int64_t> rows) const;
  absl::StatusOr<ImageRecord> ReadImage(int64_t row) const;
  absl::StatusOr<CaptionRecord> ReadCaption(int64_t row) const;
  // Features in the order of `rows`, by one batch read. DATA_LOSS as above.
  virtual absl::StatusOr<EncodedItems> ReadFeatures(Modality modality,
                                                    absl::Span<const int64_t> rows) const = 0;
  // All features, row by row from 0, where they lie in memory whole; absent for a gallery that
  // reads them from a store.
  virtual std::optional<EncodedItemsView> whole_features(Modality modality) const {
    return std::nullopt;
  }

  // The first stage: the `k` candidates nearest to a coarse embedding of shape().coarse_dim floats,
  // as far as the coarse index finds them, best first, ties by row; scores are exact.
  // INVALID_ARGUMENT for a query that does not fit.
  virtual absl::StatusOr<std::vector<Candidate>> Recall(Modality modality,
                                                        absl::Span<const float> coarse_query,
                                                        int64_t k,
                                                        const RecallOptions& options) const = 0;
};

// A collection that is searched, version by version. A search pins one view at its door and passes
// it along. Thread-safe.
class Gallery {
 public:
  virtual ~Gallery() = default;

  // The present version: it holds all that was written before the call. What it costs to keep a
  // view is that what was removed since stays in memory and on disk, so it is kept for one search,
  // not for long. The gallery must outlive it.
  virtual std::shared_ptr<const GalleryView> Pin() const = 0;
};

}  // namespace dime

#endif  // DIME_INDEX_GALLERY_H_
