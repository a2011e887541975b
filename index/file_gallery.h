#ifndef DIME_INDEX_FILE_GALLERY_H_
#define DIME_INDEX_FILE_GALLERY_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "index/coarse_index.h"
#include "index/gallery.h"
#include "index/safetensors_file.h"

namespace dime {

// A gallery in a directory, built once and then only read:
//   gallery.json            format, version, model fingerprint, counts, checksums of the other
//   files images.safetensors      i2t.local, i2t.global, t2i.local, t2i.global, lengths, coarse (as
//   captions.safetensors    features.h shapes them; a direction that the model lacks is absent);
//                           boxes (n, R, 4) too where images have them
//   images.jsonl            an ImageRecord a line, without its boxes
//   captions.jsonl          a CaptionRecord a line
//   images.faiss, captions.faiss   derived: rebuilt (with a warning) if missing or damaged
//   search_settings.json    not looked at here: how to search it best, see search_settings.h
// A modality without items has no files. Features are used in place through the memory map.
// Thread-safe: immutable after Open().
class FileGallery : public Gallery {
 public:
  struct Options {
    // FAILED_PRECONDITION if the gallery was made with another model; empty accepts any.
    std::string expected_model_fingerprint;
    // Whether the checksums of the large files are verified on opening (about 1 s a GB).
    bool verify_checksums = true;
  };
  // NOT_FOUND, INVALID_ARGUMENT (damaged; names the file) or FAILED_PRECONDITION (another model;
  // says what to do).
  static absl::StatusOr<std::unique_ptr<FileGallery>> Open(const std::string& directory,
                                                           const Options& options);

  const GalleryInfo& info() const override { return info_; }
  int64_t size(Modality modality) const override;
  absl::StatusOr<int64_t> FindRow(Modality modality, absl::string_view id) const override;
  const ImageRecord& image(int64_t row) const override { return images_[row]; }
  const CaptionRecord& caption(int64_t row) const override { return captions_[row]; }
  EncodedItemsView features(Modality modality) const override;
  absl::StatusOr<std::vector<Candidate>> Recall(
      Modality modality, absl::Span<const float> coarse_query, int64_t k,
      const CoarseIndex::SearchOptions& options) const override;

 private:
  struct Side {
    std::unique_ptr<SafetensorsFile> file;
    std::vector<int32_t> lengths;
    EncodedItemsView features;
    std::unique_ptr<CoarseIndex> index;
    absl::flat_hash_map<std::string, int64_t> rows;  // id -> row
  };
  FileGallery() = default;
  const Side& side(Modality modality) const { return sides_[static_cast<int>(modality)]; }

  GalleryInfo info_;
  std::array<Side, 2> sides_;  // by Modality
  std::vector<ImageRecord> images_;
  std::vector<CaptionRecord> captions_;
};

}  // namespace dime

#endif  // DIME_INDEX_FILE_GALLERY_H_
