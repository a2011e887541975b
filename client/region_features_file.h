#ifndef DIME_CLIENT_REGION_FEATURES_FILE_H_
#define DIME_CLIENT_REGION_FEATURES_FILE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "dime/v1/retrieval.pb.h"

namespace dime {

// Reads one image's region features from a .npy file of shape (R, D), or of shape (N, R, D) as in
// the published precomputed layout, of which `row` (0 to N - 1) chooses the image; it may be left
// out where there is one image only.
// The file's own error if it is missing or malformed; INVALID_ARGUMENT, naming file and shape, if
// shape and row do not fit.
absl::StatusOr<v1::RegionFeatures> ReadRegionFeatures(const std::string& path,
                                                      std::optional<int64_t> row);

}  // namespace dime

#endif  // DIME_CLIENT_REGION_FEATURES_FILE_H_
