#ifndef DIME_INDEX_BOTTOM_UP_TSV_H_
#define DIME_INDEX_BOTTOM_UP_TSV_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "index/mapped_file.h"
#include "index/precomputed_dataset.h"

namespace dime {

// Reads the tab-separated files in which bottom-up-attention features are distributed: image_id,
// image_w, image_h, num_boxes, boxes and features, the last two base64 of little-endian float32,
// (num_boxes, 4) and (num_boxes, D). One row at a time through a memory map, so that a 40 GB file
// needs one row's memory. Not thread-safe.
class BottomUpTsvReader {
 public:
  struct Row {
    ImageRecord image;            // id, sizes, boxes
    int num_regions = 0;          // R
    int feature_dim = 0;          // D
    std::vector<float> features;  // (R, D)
  };

  // Errors of MappedFile::Open().
  static absl::StatusOr<std::unique_ptr<BottomUpTsvReader>> Open(const std::string& path);

  // The next row, or OUT_OF_RANGE at the end. INVALID_ARGUMENT, naming the path, the line and the
  // column, for a malformed row or a NaN or infinity in it; reading cannot go on after it.
  absl::StatusOr<Row> Next();
  // Share of the file read so far, for progress bars: 0 to 1.
  double Progress() const;

 private:
  explicit BottomUpTsvReader(std::unique_ptr<MappedFile> file) : file_(std::move(file)) {}

  const std::unique_ptr<MappedFile> file_;
  size_t position_ = 0;  // bytes
  int64_t line_ = 0;     // number of the line last read, from 1
  absl::Status status_;  // the error that ended reading
};

}  // namespace dime

#endif  // DIME_INDEX_BOTTOM_UP_TSV_H_
