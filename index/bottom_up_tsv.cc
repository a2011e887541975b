#include "index/bottom_up_tsv.h"

#include <array>
#include <cstring>
#include <limits>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "index/float_bits.h"
#include "index/status_macros.h"
#include "index/text_lines.h"

namespace dime {
namespace {

enum Column { kImageId, kImageW, kImageH, kNumBoxes, kBoxes, kFeatures, kNumColumns };
constexpr std::array<absl::string_view, kNumColumns> kColumnNames = {
    "image_id", "image_w", "image_h", "num_boxes", "boxes", "features"};
// Far above what detectors give; keeps the products below from overflowing.
constexpr int32_t kMaxRegions = 100'000;
constexpr size_t kFloatsPerBox = 4;

absl::Status ColumnError(Column column, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("column ", kColumnNames[column], ": ", what));
}

absl::StatusOr<int32_t> ParseCount(Column column, absl::string_view text, int32_t min,
                                   int32_t max) {
  int32_t value;
  if (!absl::SimpleAtoi(text, &value) || value < min || value > max) {
    return ColumnError(column, absl::StrCat("\"", absl::Utf8SafeCHexEscape(text.substr(0, 32)),
                                            "\" is no whole number from ", min, " to ", max));
  }
  return value;
}

absl::StatusOr<std::vector<float>> ParseFloats(Column column, absl::string_view text) {
  std::string bytes;
  if (!absl::Base64Unescape(text, &bytes)) return ColumnError(column, "malformed base64");
  if (bytes.size() % sizeof(float) != 0) {
    return ColumnError(column, absl::StrCat(bytes.size(), " bytes are no float32 array"));
  }
  std::vector<float> floats(bytes.size() / sizeof(float));
  if (!floats.empty()) std::memcpy(floats.data(), bytes.data(), bytes.size());
  if (FindNonFinite(floats) >= 0) return ColumnError(column, "holds a NaN or an infinity");
  return floats;
}

absl::StatusOr<BottomUpTsvReader::Row> ParseRow(absl::string_view line) {
  std::array<absl::string_view, kNumColumns> columns;
  for (size_t i = 0; i < kNumColumns; ++i) {
    const size_t end = line.find('\t');
    if ((end == absl::string_view::npos) != (i + 1 == kNumColumns)) {
      return absl::InvalidArgumentError(
          absl::StrCat("column ", kColumnNames[i], ": ",
                       end == absl::string_view::npos ? "no column follows" : "columns follow",
                       "; a row has exactly ", kNumColumns, " columns parted by tabs"));
    }
    columns[i] = line.substr(0, end);
    line.remove_prefix(end == absl::string_view::npos ? line.size() : end + 1);
  }

  BottomUpTsvReader::Row row;
  if (columns[kImageId].empty() || !IsValidUtf8(columns[kImageId])) {
    return ColumnError(kImageId, "empty, or no UTF-8");
  }
  row.image.id = std::string(columns[kImageId]);
  constexpr int32_t kMaxSide = std::numeric_limits<int32_t>::max();
  ASSIGN_OR_RETURN(row.image.width, ParseCount(kImageW, columns[kImageW], 0, kMaxSide));
  ASSIGN_OR_RETURN(row.image.height, ParseCount(kImageH, columns[kImageH], 0, kMaxSide));
  ASSIGN_OR_RETURN(row.num_regions, ParseCount(kNumBoxes, columns[kNumBoxes], 1, kMaxRegions));
  const size_t regions = static_cast<size_t>(row.num_regions);

  ASSIGN_OR_RETURN(row.image.boxes, ParseFloats(kBoxes, columns[kBoxes]));
  if (row.image.boxes.size() != regions * kFloatsPerBox) {
    return ColumnError(kBoxes, absl::StrCat(row.image.boxes.size(), " floats instead of ", regions,
                                            " x ", kFloatsPerBox));
  }
  ASSIGN_OR_RETURN(row.features, ParseFloats(kFeatures, columns[kFeatures]));
  if (row.features.empty() || row.features.size() % regions != 0) {
    return ColumnError(kFeatures, absl::StrCat(row.features.size(), " floats are no ", regions,
                                               " rows of equal width"));
  }
  row.feature_dim = static_cast<int>(row.features.size() / regions);
  return row;
}

}  // namespace

absl::StatusOr<std::unique_ptr<BottomUpTsvReader>> BottomUpTsvReader::Open(
    const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  return std::unique_ptr<BottomUpTsvReader>(new BottomUpTsvReader(std::move(file)));
}

absl::StatusOr<BottomUpTsvReader::Row> BottomUpTsvReader::Next() {
  RETURN_IF_ERROR(status_);
  const absl::string_view content(reinterpret_cast<const char*>(file_->bytes().data()),
                                  file_->bytes().size());
  if (position_ == content.size()) {
    return absl::OutOfRangeError(absl::StrCat(file_->path(), ": no more rows"));
  }
  const size_t end = content.find('\n', position_);
  absl::string_view line = content.substr(position_, end - position_);
  position_ = end == absl::string_view::npos ? content.size() : end + 1;
  ++line_;
  absl::ConsumeSuffix(&line, "\r");
  absl::StatusOr<Row> row = ParseRow(line);
  if (!row.ok()) {
    status_ = absl::Status(row.status().code(), absl::StrCat(file_->path(), " line ", line_, ": ",
                                                             row.status().message()));
    return status_;
  }
  return row;
}

double BottomUpTsvReader::Progress() const {
  const size_t size = file_->bytes().size();
  return size == 0 ? 1.0 : static_cast<double>(position_) / static_cast<double>(size);
}

}  // namespace dime
