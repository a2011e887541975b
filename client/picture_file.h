#ifndef DIME_CLIENT_PICTURE_FILE_H_
#define DIME_CLIENT_PICTURE_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace dime {

// A picture's file as it is, to be put into an SVG. A value type.
struct PictureFile {
  std::string bytes;
  std::string media_type;  // "image/png" or "image/jpeg", by its content and not its name
  int width = 0;           // pixels, as the file's header says; at least 1
  int height = 0;
};

// Reads a PNG or JPEG file. The file's own error if it cannot be read; INVALID_ARGUMENT, naming it,
// if it is neither, or its header is damaged, or it is larger than 64 MiB.
absl::StatusOr<PictureFile> ReadPicture(const std::string& path);

// The path that a "file:" URI, or a URI without a scheme, names on this machine; INVALID_ARGUMENT
// for any other.
absl::StatusOr<std::string> LocalPath(absl::string_view uri);

}  // namespace dime

#endif  // DIME_CLIENT_PICTURE_FILE_H_
