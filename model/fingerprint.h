#ifndef DIME_MODEL_FINGERPRINT_H_
#define DIME_MODEL_FINGERPRINT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace dime {

// SHA-256, lower-case hex, over the names and bytes of `files` (relative to `directory`) in the
// order given: two directories have the same fingerprint if those files are the same, wherever they
// lie. NOT_FOUND naming a file that is missing.
absl::StatusOr<std::string> FingerprintFiles(const std::string& directory,
                                             const std::vector<std::string>& files);

}  // namespace dime

#endif  // DIME_MODEL_FINGERPRINT_H_
