#ifndef DIME_INDEX_STORE_GALLERY_VIEW_H_
#define DIME_INDEX_STORE_GALLERY_VIEW_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "index/row_bitmap.h"
#include "index/store_gallery.h"

namespace dime {

// One version of a StoreGallery, seen through the interface. Immutable, hence thread-safe; the
// gallery must outlive it.
class StoreGallery::View : public GalleryView {
 public:
  View(const StoreGallery* gallery, std::shared_ptr<const Version> version)
      : gallery_(*gallery), version_(std::move(version)) {}

  const GalleryInfo& info() const override { return version_->info; }
  int64_t size(Modality modality) const override { return side(modality).live; }
  EncodedItemsView shape(Modality modality) const override {
    return gallery_.manifest_.shapes[static_cast<size_t>(modality)];
  }
  absl::StatusOr<int64_t> FindRow(Modality modality, absl::string_view id) const override;
  std::vector<int64_t> ListRows(Modality modality) const override { return RowsFrom(modality, 0); }
  absl::StatusOr<std::vector<std::string>> ListIds(Modality modality, absl::string_view after_id,
                                                   int64_t limit) const override {
    return gallery_.store_->ListIds(snapshot(), modality, after_id, limit);
  }
  absl::Status VisitImages(absl::Span<const int64_t> rows, RecordParts parts,
                           absl::FunctionRef<void(const ImageRecord&)> visit) const override;
  absl::Status VisitCaptions(absl::Span<const int64_t> rows, RecordParts parts,
                             absl::FunctionRef<void(const CaptionRecord&)> visit) const override;
  absl::StatusOr<EncodedItems> ReadFeatures(Modality modality,
                                            absl::Span<const int64_t> rows) const override;
  absl::StatusOr<std::vector<Candidate>> Recall(Modality modality,
                                                absl::Span<const float> coarse_query, int64_t k,
                                                const RecallOptions& options) const override;

  const ItemStore::Snapshot* snapshot() const { return version_->snapshot.get(); }

 private:
  // Rows of the base that are alive and match.
  class BaseSelection : public RowSelection {
   public:
    BaseSelection(const CoarseBase* base, int64_t sequence, const RowBitmap* matching)
        : base_(*base), sequence_(sequence), matching_(matching) {}
    bool Contains(int64_t place) const override {
      return base_.AliveAt(place, sequence_) &&
             (matching_ == nullptr || matching_->Contains(base_.row(place)));
    }

   private:
    const CoarseBase& base_;
    const int64_t sequence_;
    const RowBitmap* const matching_;
  };

  const Side& side(Modality modality) const {
    return version_->sides[static_cast<size_t>(modality)];
  }
  int64_t sequence() const { return version_->state.sequence; }
  // Calls `visit` with row and embedding of everything alive that matches, in the base or in the
  // tail; `matching` null = all.
  template <typename Visit>
  void VisitBase(const Side& side, const RowBitmap* matching, Visit visit) const;
  template <typename Visit>
  void VisitTail(const Side& side, const RowBitmap* matching, Visit visit) const;
  // How much of the base is alive and matches, counted up to `most`.
  int64_t CountBase(const Side& side, const RowBitmap& matching, int64_t most) const;
  // What is alive of the rows from `first` on, ascending.
  std::vector<int64_t> RowsFrom(Modality modality, int64_t first) const;
  absl::StatusOr<std::shared_ptr<const RowBitmap>> Matching(Modality modality,
                                                            const ItemFilter& filter) const;
  // Those of `rows`, ascending, that the filter matches.
  absl::StatusOr<std::vector<int64_t>> Evaluate(Modality modality, const ItemFilter& filter,
                                                absl::Span<const int64_t> rows) const;
  absl::StatusOr<bool> Matches(Modality modality, const ItemFilter& filter,
                               absl::string_view record) const;
  // The embedding of a row; empty if there is none.
  absl::Span<const float> CoarseOf(const Side& side, int64_t row) const;

  const StoreGallery& gallery_;
  const std::shared_ptr<const Version> version_;
};

}  // namespace dime

#endif  // DIME_INDEX_STORE_GALLERY_VIEW_H_
