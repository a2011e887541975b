#ifndef DIME_INDEX_PRECOMPUTED_DATASET_H_
#define DIME_INDEX_PRECOMPUTED_DATASET_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "index/item_records.h"
#include "index/npy_file.h"

namespace dime {

// One split of a data set in the published precomputed layout, features through a memory map:
//   SPLIT_ims.npy     (N, R, D) float32 region features
//   SPLIT_caps.txt    a caption a line, UTF-8; as many as images or five times as many. Without
//                     this file there are no captions.
//   SPLIT_boxes.npy   (N, R, 4), optional
//   SPLIT_ids.txt     an image id a line, optional
//   SPLIT_meta.json   an array with an object an image, optional: "id" or "image_id" or
//                     "coco_image_id" (used if there is no SPLIT_ids.txt), "width", "height",
//                     "file": where the picture is, beside this file or in images/; "captions": an
//                     object for each caption whose "kind" says what kind of caption it is
// Without either, ids are SPLIT-<row>. Caption k belongs to image k / captions_per_image() and has
// the id <image id>#<k % captions_per_image()>. In some releases an image row is repeated for each
// of its captions (N = captions); then captions_per_image() is 1. `dev` has its captions cut to the
// first 5000 as in the published evaluation, and its images to those of these captions.
// Immutable, hence thread-safe.
class PrecomputedDataset {
 public:
  // NOT_FOUND or INVALID_ARGUMENT naming the file and what does not fit.
  static absl::StatusOr<std::unique_ptr<PrecomputedDataset>> Open(const std::string& directory,
                                                                  const std::string& split);

  int64_t num_images() const { return static_cast<int64_t>(images_.size()); }
  int64_t num_captions() const { return static_cast<int64_t>(captions_.size()); }
  int captions_per_image() const { return captions_per_image_; }
  int num_regions() const { return static_cast<int>(features_->shape()[1]); }
  int feature_dim() const { return static_cast<int>(features_->shape()[2]); }

  const std::vector<std::string>& captions() const { return captions_; }
  // (T): what kind of caption each is, in words of the data set's own; empty if it does not say.
  const std::vector<std::string>& caption_kinds() const { return caption_kinds_; }
  int64_t ImageOfCaption(int64_t caption) const { return caption / captions_per_image_; }
  // Region features of images [first, first + count) into `out`, (count, R, D).
  // INVALID_ARGUMENT, naming file and row, for a NaN or an infinity; OUT_OF_RANGE if there are no
  // such images.
  absl::Status ReadFeatures(int64_t first, int64_t count, absl::Span<float> out) const;
  // Reads the boxes from disk; errors as above.
  absl::StatusOr<ImageRecord> Image(int64_t row) const;
  // `row` must be valid.
  CaptionRecord Caption(int64_t row) const;

 private:
  PrecomputedDataset() = default;

  std::unique_ptr<NpyFile> features_;  // may have more rows than images are used
  std::unique_ptr<NpyFile> boxes_;     // as many rows as features_; may be null
  std::vector<std::string> captions_;
  std::vector<std::string> caption_kinds_;
  std::vector<ImageRecord> images_;  // without boxes
  int captions_per_image_ = 1;
};

}  // namespace dime

#endif  // DIME_INDEX_PRECOMPUTED_DATASET_H_
