#ifndef DIME_CLIENT_ITEM_SOURCE_H_
#define DIME_CLIENT_ITEM_SOURCE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dime/v1/gallery.pb.h"

namespace dime {

// Items to write, one after another, out of a file or a data set. Numbered from 0 in an order that
// is the same each time. Not thread-safe.
template <typename Request>
class ItemSource {
 public:
  virtual ~ItemSource() = default;

  // How many there are.
  virtual int64_t size() const = 0;
  // The next item, or moves past it; only while fewer than size() were taken. INVALID_ARGUMENT,
  // naming file and line, for a malformed one; reading cannot go on after it.
  virtual absl::StatusOr<Request> Next() = 0;
  virtual absl::Status Skip() { return Next().status(); }
};
using ImageSource = ItemSource<v1::UpsertImagesRequest>;
using CaptionSource = ItemSource<v1::UpsertCaptionsRequest>;

// A split of the published precomputed layout, see PrecomputedDataset.
absl::StatusOr<std::unique_ptr<ImageSource>> OpenDatasetImages(const std::string& directory,
                                                               const std::string& split);
absl::StatusOr<std::unique_ptr<CaptionSource>> OpenDatasetCaptions(const std::string& directory,
                                                                   const std::string& split);

// By the name's ending. Images: ".tsv" is bottom-up-attention's form, see BottomUpTsvReader.
// ".jsonl": a JSON object a line, the fields of Image (gallery.proto), and beside them either
// "features", the fields of RegionFeatures, or "npy", a file with the shape (R, D) or (N, R, D),
// its path relative to the JSON file, and with the latter shape "row".
absl::StatusOr<std::unique_ptr<ImageSource>> OpenImageFile(const std::string& path);
// Captions: ".tsv" has the columns id, text and, if known, image id, parted by tabs; ".jsonl" a
// JSON object a line, the fields of Caption.
absl::StatusOr<std::unique_ptr<CaptionSource>> OpenCaptionFile(const std::string& path);

}  // namespace dime

#endif  // DIME_CLIENT_ITEM_SOURCE_H_
