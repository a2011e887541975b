#ifndef DIME_INDEX_GALLERY_BUILDER_H_
#define DIME_INDEX_GALLERY_BUILDER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "index/coarse_index.h"
#include "index/features.h"
#include "index/gallery_manifest.h"
#include "index/precomputed_dataset.h"

namespace dime {

// Writes the directory that FileGallery opens, in one pass over items that arrive in batches, so
// that memory holds a batch and the coarse embeddings only. The directory appears under its name on
// Finish() (it is written beside it as NAME.part). Not thread-safe.
class GalleryBuilder {
 public:
  struct Options {
    std::string model_fingerprint;
    int64_t num_images = 0;  // how many will be added, exactly
    int64_t num_captions = 0;
    CoarseIndex::Options index;
    bool overwrite = false;  // replace a gallery that is there already
  };
  // ALREADY_EXISTS if `directory` is there and overwrite is off, or if it is no gallery: such a
  // directory is never replaced, unless it is empty. Missing parent directories are made. What a
  // crashed build left as NAME.part is removed.
  static absl::StatusOr<std::unique_ptr<GalleryBuilder>> Create(const std::string& directory,
                                                                const Options& options);
  ~GalleryBuilder();  // removes the .part directory if Finish() was not reached

  // `features.count` records each. Either all images have boxes or none. INVALID_ARGUMENT naming
  // the id for a duplicate or empty id, malformed UTF-8, a NaN or an infinity, or boxes that do not
  // fit; or if the features' shape differs from the first batch's, or more come than announced.
  // Nothing is added then.
  absl::Status AddImages(absl::Span<const ImageRecord> records, const EncodedItemsView& features);
  absl::Status AddCaptions(absl::Span<const CaptionRecord> records,
                           const EncodedItemsView& features);
  // Builds the coarse indexes, writes the manifest, renames. FAILED_PRECONDITION if fewer items
  // came than announced.
  // `on_indexed` is called as CoarseIndex::Options::on_added, for one index, then the other.
  absl::Status Finish(const std::function<void(int64_t)>& on_indexed = nullptr);

 private:
  struct Side;
  GalleryBuilder(std::string directory, Options options);
  // What the records of a batch come to: their ids, JSON lines and boxes.
  struct Batch {
    std::vector<std::string> ids;
    std::string lines;
    std::vector<float> boxes;  // (count, positions, 4), or empty
  };
  absl::Status CheckFeatures(const Side& side, const EncodedItemsView& features,
                             absl::Span<const std::string> ids) const;
  absl::Status OpenFiles(Side& side, const EncodedItemsView& features, bool has_boxes);
  absl::Status WriteBatch(Side& side, const EncodedItemsView& features, const Batch& batch);
  absl::Status Add(Side& side, const EncodedItemsView& features, const Batch& batch);
  absl::Status FinishSide(Side& side, const std::function<void(int64_t)>& on_indexed);
  Side& side(Modality modality) { return *sides_[static_cast<size_t>(modality)]; }
  const Side& side(Modality modality) const { return *sides_[static_cast<size_t>(modality)]; }

  const std::string directory_;  // canonical, without a slash at the end
  const Options options_;
  std::array<std::unique_ptr<Side>, 2> sides_;  // by Modality
  GalleryManifest manifest_;
  absl::Status status_;  // a failed write: the build cannot go on
  bool finished_ = false;
};

}  // namespace dime

#endif  // DIME_INDEX_GALLERY_BUILDER_H_
