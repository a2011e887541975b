#include "index/gallery.h"

#include <utility>

#include "absl/status/status.h"
#include "index/status_macros.h"

namespace dime {

absl::StatusOr<std::vector<ImageRecord>> GalleryView::ReadImages(
    absl::Span<const int64_t> rows) const {
  std::vector<ImageRecord> records;
  records.reserve(rows.size());
  RETURN_IF_ERROR(VisitImages(rows, RecordParts::kAll, [&records](const ImageRecord& record) {
    records.push_back(record);
  }));
  return records;
}

absl::StatusOr<std::vector<CaptionRecord>> GalleryView::ReadCaptions(
    absl::Span<const int64_t> rows) const {
  std::vector<CaptionRecord> records;
  records.reserve(rows.size());
  RETURN_IF_ERROR(VisitCaptions(rows, RecordParts::kAll, [&records](const CaptionRecord& record) {
    records.push_back(record);
  }));
  return records;
}

absl::StatusOr<ImageRecord> GalleryView::ReadImage(int64_t row) const {
  ASSIGN_OR_RETURN(std::vector<ImageRecord> images, ReadImages(absl::MakeConstSpan(&row, 1)));
  return std::move(images.front());
}

absl::StatusOr<CaptionRecord> GalleryView::ReadCaption(int64_t row) const {
  ASSIGN_OR_RETURN(std::vector<CaptionRecord> captions, ReadCaptions(absl::MakeConstSpan(&row, 1)));
  return std::move(captions.front());
}

}  // namespace dime
