#include "index/open_gallery.h"

#include <utility>

#include "index/file_gallery.h"
#include "index/status_macros.h"
#include "index/store_gallery.h"

namespace dime {

absl::StatusOr<std::unique_ptr<Gallery>> OpenGallery(const std::string& directory,
                                                     const std::string& expected_model_fingerprint,
                                                     const VectorSearcherFactory* searchers) {
  if (StoreGallery::IsAt(directory)) {
    StoreGallery::Options options;
    options.expected_model_fingerprint = expected_model_fingerprint;
    options.searchers = searchers;
    ASSIGN_OR_RETURN(std::unique_ptr<StoreGallery> living, StoreGallery::Open(directory, options));
    return std::unique_ptr<Gallery>(std::move(living));
  }
  ASSIGN_OR_RETURN(
      std::unique_ptr<FileGallery> built,
      FileGallery::Open(directory, {.expected_model_fingerprint = expected_model_fingerprint,
                                    .searchers = searchers}));
  return std::unique_ptr<Gallery>(std::move(built));
}

}  // namespace dime
