#ifndef DIME_INDEX_GALLERY_H_
#define DIME_INDEX_GALLERY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "index/coarse_index.h"
#include "index/features.h"
#include "index/precomputed_dataset.h"

namespace dime {

// Facts about a gallery that do not change while it is open.
struct GalleryInfo {
  std::string name;               // the directory's last component
  std::string version;            // names this build of the gallery; changes when it is rebuilt
  std::string model_fingerprint;  // of the model whose features it holds
  std::string image_index;        // FAISS factory strings
  std::string caption_index;
  int num_regions = 0;            // R; 0 without images
  int max_words = 0;              // L; 0 without captions
};

// The collection that is searched: images and captions with their records, encoded features and a
// coarse index each. Items have an id (the user's string) and a row (a dense number from 0).
// Implementations are thread-safe. Spans and references stay valid as long as the gallery.
class Gallery {
 public:
  virtual ~Gallery() = default;

  virtual const GalleryInfo& info() const = 0;
  virtual int64_t size(Modality modality) const = 0;
  // The row of an id; NOT_FOUND, naming the id, if there is no such item.
  virtual absl::StatusOr<int64_t> FindRow(Modality modality, absl::string_view id) const = 0;
  // Rows must be valid.
  virtual const ImageRecord& image(int64_t row) const = 0;
  virtual const CaptionRecord& caption(int64_t row) const = 0;
  // All items' features, row by row.
  virtual EncodedItemsView features(Modality modality) const = 0;
  // The first stage: the `k` candidates nearest to a coarse embedding of features().coarse_dim, as
  // far as the coarse index finds them, best first, ties by row; scores are exact.
  virtual absl::StatusOr<std::vector<Candidate>> Recall(
      Modality modality, absl::Span<const float> coarse_query, int64_t k,
      const CoarseIndex::SearchOptions& options) const = 0;
};

}  // namespace dime

#endif  // DIME_INDEX_GALLERY_H_
