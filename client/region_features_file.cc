#include "client/region_features_file.h"

#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "index/npy_file.h"
#include "index/status_macros.h"

namespace dime {
namespace {

// Messages of protobuf end at 2 GiB; no image's features come near.
constexpr int64_t kMaxValues = int64_t{1} << 28;

}  // namespace

absl::StatusOr<v1::RegionFeatures> ReadRegionFeatures(const std::string& path,
                                                      std::optional<int64_t> row) {
  ASSIGN_OR_RETURN(const std::unique_ptr<NpyFile> file, NpyFile::Open(path));
  const std::vector<int64_t>& shape = file->shape();
  const std::string found = absl::StrCat(path, ": its shape is (", absl::StrJoin(shape, ", "), ")");
  if (shape.size() != 2 && shape.size() != 3) {
    return absl::InvalidArgumentError(
        absl::StrCat(found, "; region features have the shape (R, D), or (N, R, D) for N images"));
  }
  const bool many = shape.size() == 3;
  const int64_t images = many ? shape[0] : 1;
  if (!row.has_value() && images != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(found, ", that is ", images, " images; choose one with --row"));
  }
  const int64_t image = row.value_or(0);
  if (image < 0 || image >= images) {
    return absl::InvalidArgumentError(
        absl::StrCat(found, ", which has no row ", image,
                     images > 1    ? absl::StrCat("; rows are 0 to ", images - 1)
                     : images == 1 ? "; it holds one image, row 0"
                                   : "; it holds no image"));
  }
  const int64_t regions = shape[many ? 1 : 0];
  const int64_t dim = shape[many ? 2 : 1];
  if (regions < 1 || dim < 1 || regions > kMaxValues / dim) {
    return absl::InvalidArgumentError(
        absl::StrCat(found, "; an image must have 1 to ", kMaxValues, " values"));
  }

  v1::RegionFeatures features;
  features.set_num_regions(static_cast<int32_t>(regions));
  features.set_feature_dim(static_cast<int32_t>(dim));
  features.mutable_values()->Resize(static_cast<int>(regions * dim), 0.0f);
  const absl::Span<float> values(features.mutable_values()->mutable_data(),
                                 static_cast<size_t>(regions * dim));
  // The file's rows are images, or one image's regions.
  RETURN_IF_ERROR(file->ReadRows(many ? image : 0, many ? 1 : regions, values));
  return features;
}

}  // namespace dime
