#include "index/gallery.h"

#include <utility>

#include "absl/status/status.h"
#include "index/status_macros.h"

namespace dime {

absl::StatusOr<ImageRecord> GalleryView::ReadImage(int64_t row) const {
  ASSIGN_OR_RETURN(std::vector<ImageRecord> images, ReadImages(absl::MakeConstSpan(&row, 1)));
  return std::move(images.front());
}

absl::StatusOr<CaptionRecord> GalleryView::ReadCaption(int64_t row) const {
  ASSIGN_OR_RETURN(std::vector<CaptionRecord> captions, ReadCaptions(absl::MakeConstSpan(&row, 1)));
  return std::move(captions.front());
}

}  // namespace dime
