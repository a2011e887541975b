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
#include "index/vector_searcher.h"

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
// It has one version, so that it is its own view.
// Thread-safe: immutable after Open().
class FileGallery : public Gallery, public GalleryView {
 public:
  struct Options {
    // FAILED_PRECONDITION if the gallery was made with another model; empty accepts any.
    std::string expected_model_fingerprint;
    // Whether the checksums of the large files are verified on opening (about 1 s a GB).
    bool verify_checksums = true;
    const VectorSearcherFactory* searchers = nullptr;  // null: the indexes search
  };
  // NOT_FOUND, INVALID_ARGUMENT (damaged; names the file) or FAILED_PRECONDITION (another model;
  // says what to do).
  static absl::StatusOr<std::unique_ptr<FileGallery>> Open(const std::string& directory,
                                                           const Options& options);

  std::shared_ptr<const GalleryView> Pin() const override;

  const GalleryInfo& info() const override { return info_; }
  int64_t size(Modality modality) const override { return features(modality).count; }
  EncodedItemsView shape(Modality modality) const override { return ShapeOf(features(modality)); }
  absl::StatusOr<int64_t> FindRow(Modality modality, absl::string_view id) const override;
  std::vector<int64_t> ListRows(Modality modality) const override;
  absl::StatusOr<std::vector<std::string>> ListIds(Modality modality, absl::string_view after_id,
                                                   int64_t limit) const override;
  absl::Status VisitImages(absl::Span<const int64_t> rows, RecordParts parts,
                           absl::FunctionRef<void(const ImageRecord&)> visit) const override;
  absl::Status VisitCaptions(absl::Span<const int64_t> rows, RecordParts parts,
                             absl::FunctionRef<void(const CaptionRecord&)> visit) const override;
  absl::StatusOr<EncodedItems> ReadFeatures(Modality modality,
                                            absl::Span<const int64_t> rows) const override;
  std::optional<EncodedItemsView> whole_features(Modality modality) const override {
    return features(modality);
  }
  absl::StatusOr<std::vector<Candidate>> Recall(Modality modality,
                                                absl::Span<const float> coarse_query, int64_t k,
                                                const RecallOptions& options) const override;

  // What the above read, in place. Rows must be valid.
  const ImageRecord& image(int64_t row) const { return images_[row]; }
  const CaptionRecord& caption(int64_t row) const { return captions_[row]; }
  EncodedItemsView features(Modality modality) const { return side(modality).features; }

 private:
  struct Side {
    std::unique_ptr<SafetensorsFile> file;
    std::vector<int32_t> lengths;
    EncodedItemsView features;
    std::unique_ptr<CoarseIndex> index;
    absl::flat_hash_map<std::string, int64_t> rows;  // id -> row
    std::vector<int64_t> by_id;                      // rows, ascending by id
  };
  FileGallery() = default;
  // Compares with every one of `rows`.
  std::vector<Candidate> Scan(const Side& searched, absl::Span<const int64_t> rows,
                              absl::Span<const float> coarse_query, int64_t k) const;
  // Rows that the filter matches, ascending; all of them without a filter.
  std::vector<int64_t> MatchingRows(Modality modality, const ItemFilter* filter) const;
  const std::string& IdOf(Modality modality, int64_t row) const {
    return modality == Modality::kImage ? images_[row].id : captions_[row].id;
  }
  absl::Status CheckRows(Modality modality, absl::Span<const int64_t> rows) const;
  const Side& side(Modality modality) const { return sides_[static_cast<int>(modality)]; }

  GalleryInfo info_;
  std::array<Side, 2> sides_;  // by Modality
  std::vector<ImageRecord> images_;
  std::vector<CaptionRecord> captions_;
};

}  // namespace dime

#endif  // DIME_INDEX_FILE_GALLERY_H_
