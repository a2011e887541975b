#ifndef DIME_BENCHMARKS_SYNTHETIC_GALLERY_H_
#define DIME_BENCHMARKS_SYNTHETIC_GALLERY_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "model/model_info.h"

namespace dime {

// A gallery of made-up items of a model's sizes: image-K of 640 x 480 with a URI, and caption-K of
// eight words or so. Coarse embeddings are random unit rows; local and global features are unit
// rows that come again every few hundred items, for nothing measured here looks at them.
struct SyntheticGallery {
  int64_t images = 0;
  int64_t captions = 0;
  bool living = false;
  bool payloads = false;  // of six fields, some 150 bytes as JSON

  // Makes the directory, which must not be there. Errors are the gallery's own.
  absl::Status Write(const std::string& directory, const ModelInfo& model) const;
};

}  // namespace dime

#endif  // DIME_BENCHMARKS_SYNTHETIC_GALLERY_H_
