#ifndef DIME_MODEL_DIME_POSITIVES_H_
#define DIME_MODEL_DIME_POSITIVES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace dime {

// For each caption of a split the rows, sorted, of the images that it is known to be true of; empty
// where nothing is known. Its own image may or may not be among them.
using Positives = std::vector<std::vector<int64_t>>;

// Reads a JSON array with an array of image rows for each of the captions. NOT_FOUND or
// INVALID_ARGUMENT naming the file and the entry.
absl::StatusOr<Positives> LoadPositives(const std::string& path, int64_t num_captions);

}  // namespace dime

#endif  // DIME_MODEL_DIME_POSITIVES_H_
