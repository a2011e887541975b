#ifndef DIME_INDEX_GALLERY_MANIFEST_H_
#define DIME_INDEX_GALLERY_MANIFEST_H_

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "index/features.h"

namespace dime {

inline constexpr char kGalleryManifestName[] = "gallery.json";

// Names of a gallery's files of one modality, within its directory.
std::string GalleryFeaturesName(Modality modality);  // images.safetensors
std::string GalleryRecordsName(Modality modality);   // images.jsonl
std::string GalleryIndexName(Modality modality);     // images.faiss
// Of the features: the tensors of one direction, and the others.
std::string LocalTensorName(Direction direction);   // i2t.local
std::string GlobalTensorName(Direction direction);  // i2t.global
inline constexpr char kLengthsTensorName[] = "lengths";
inline constexpr char kCoarseTensorName[] = "coarse";
inline constexpr char kBoxesTensorName[] = "boxes";

// What gallery.json says: the facts and the checksums by which FileGallery knows that the other
// files are whole and belong together. A modality without items has no files. A value; not
// thread-safe.
struct GalleryManifest {
  struct File {
    uint64_t bytes = 0;
    uint32_t crc32 = 0;
  };
  struct Side {
    int64_t count = 0;
    std::string index;  // FAISS factory string; empty without items
  };

  std::string model_fingerprint;
  std::array<Side, 2> sides;          // by Modality
  std::map<std::string, File> files;  // by name

  // Names the content: the first 16 hex digits of a SHA-256 of all of the above but the derived
  // FAISS files, so that it stays when these are rebuilt.
  std::string Version() const;

  // INVALID_ARGUMENT, naming the path, for what is no gallery's manifest or was altered (it keeps
  // its version, which must fit); NOT_FOUND if it is not there.
  static absl::StatusOr<GalleryManifest> Read(const std::string& directory);
  absl::Status Write(const std::string& directory) const;
};

// Size and checksum of a file. Errors of MappedFile::Open().
absl::StatusOr<GalleryManifest::File> ChecksumFile(const std::string& path);

// All names that a gallery's directory may hold, those of files in the making included.
std::vector<std::string> GalleryFileNames();

}  // namespace dime

#endif  // DIME_INDEX_GALLERY_MANIFEST_H_
