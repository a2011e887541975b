#ifndef DIME_INDEX_NPY_FILE_H_
#define DIME_INDEX_NPY_FILE_H_

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "index/mapped_file.h"

namespace dime {

// A float32 array in NumPy's .npy format (versions 1 to 3, C order, little-endian), read through a
// memory map. float16 and float64 files are converted row by row when read; others are refused.
// Immutable, hence thread-safe.
class NpyFile {
 public:
  // INVALID_ARGUMENT for anything that is no well-formed array of one of the types above, or whose
  // size does not match its header; the message names the path and what was found.
  static absl::StatusOr<std::unique_ptr<NpyFile>> Open(const std::string& path);

  const std::vector<int64_t>& shape() const { return shape_; }
  const std::string& path() const { return file_->path(); }
  // Entries along the first axis (1 for a zero-dimensional array), and floats in each.
  int64_t rows() const { return rows_; }
  int64_t row_size() const { return row_size_; }

  // Copies rows [first, first + count) as float32 into `out`, whose size must be count *
  // row_size(). OUT_OF_RANGE if there are no such rows.
  absl::Status ReadRows(int64_t first, int64_t count, absl::Span<float> out) const;

 private:
  enum class Type { kFloat16, kFloat32, kFloat64 };
  NpyFile(std::unique_ptr<MappedFile> file, Type type, std::vector<int64_t> shape,
          size_t payload_offset);

  const std::unique_ptr<MappedFile> file_;
  const Type type_;
  const std::vector<int64_t> shape_;
  const size_t payload_offset_;  // bytes from the start of the file to the first entry
  int64_t rows_ = 1;
  int64_t row_size_ = 1;
};

// Writes a float32 .npy array row by row, so that arrays larger than memory can be written; the
// header's row count is set by Finish(). The file appears under its name only then (it is written
// beside it as NAME.part), so that a reader never sees half of one. Not thread-safe.
class NpyWriter {
 public:
  // `row_shape` is the shape of one row: an array of shape (rows, row_shape...) results.
  static absl::StatusOr<std::unique_ptr<NpyWriter>> Create(const std::string& path,
                                                           std::vector<int64_t> row_shape);
  ~NpyWriter();  // removes the .part file if Finish() was not reached

  // Appends whole rows; `values.size()` must be a multiple of the row's size.
  absl::Status Append(absl::Span<const float> values);
  absl::Status Finish();

 private:
  NpyWriter(std::string path, std::FILE* file, std::vector<int64_t> row_shape);

  const std::string path_;
  const std::vector<int64_t> row_shape_;
  std::FILE* file_;  // owned; null once finished
  int64_t row_size_ = 1;
  int64_t rows_ = 0;
};

}  // namespace dime

#endif  // DIME_INDEX_NPY_FILE_H_
