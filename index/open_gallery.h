#ifndef DIME_INDEX_OPEN_GALLERY_H_
#define DIME_INDEX_OPEN_GALLERY_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "index/gallery.h"
#include "index/vector_searcher.h"

namespace dime {

// Opens a gallery directory of either form: a living one (StoreGallery, a MutableGallery) or one
// that was built once (FileGallery). Errors are those of the form that is there; NOT_FOUND if
// neither is. `expected_model_fingerprint`, `searchers`: as in their options.
absl::StatusOr<std::unique_ptr<Gallery>> OpenGallery(
    const std::string& directory, const std::string& expected_model_fingerprint,
    const VectorSearcherFactory* searchers = nullptr);

}  // namespace dime

#endif  // DIME_INDEX_OPEN_GALLERY_H_
