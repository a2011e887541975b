#ifndef DIME_SERVER_GALLERY_IMPORT_H_
#define DIME_SERVER_GALLERY_IMPORT_H_

#include <cstdio>
#include <string>

#include "absl/status/status.h"
#include "index/bottom_up_tsv.h"
#include "index/coarse_index.h"
#include "index/gallery_builder.h"
#include "index/precomputed_dataset.h"
#include "model/caption_encoder.h"
#include "model/image_encoder.h"
#include "model/model_info.h"
#include "server/item_sink.h"

namespace dime {

// The help of a program's --scorer option that encodes but does not score.
inline constexpr char kEncodeByHelp[] =
    "What encodes: modules, in float32 throughout, or else what a server with this --scorer does; "
    "kernels with VNNI or AMX round captions a little";

// Makes galleries out of data sets: encodes every item by a model, batch by batch, and hands it to
// an ItemSink, a gallery that is only read or a living one. Shows its progress.
// Immutable, but an import is one thread's work. The encoders must outlive it.
class GalleryImporter {
 public:
  struct Options {
    CoarseIndex::Options index;
    int batch = 64;          // items encoded at once, at least 1
    bool overwrite = false;  // replace a gallery that is there already, unless it is living
    // Makes a living gallery, which can be written to.
    bool living = false;
    FeatureForm form = FeatureForm::kFloat32;  // of a living gallery's local features
    bool keep_raw = false;                     // it keeps what images are encoded from
    std::FILE* progress = stderr;
  };
  GalleryImporter(const ModelInfo& model, const CaptionEncoder* caption_encoder,
                  const ImageEncoder* image_encoder, const Options& options)
      : model_(model),
        caption_encoder_(caption_encoder),
        image_encoder_(image_encoder),
        options_(options) {}

  // Images and captions of a split, into directory `out`. INVALID_ARGUMENT if the features do not
  // have the model's sizes, else the errors of the data set, the encoders and GalleryBuilder.
  absl::Status ImportDataset(const PrecomputedDataset& dataset, const std::string& out) const;

  // A living gallery without items.
  absl::Status MakeEmpty(const std::string& out) const;

  // The images of a bottom-up-attention file, which is read twice, once to count. Such files hold
  // no captions. INVALID_ARGUMENT, naming the image, if one's features do not have the model's
  // sizes.
  absl::Status ImportTsv(const std::string& tsv, const std::string& out) const;

 private:
  absl::Status CheckSizes(absl::string_view what, int num_regions, int feature_dim) const;
  absl::StatusOr<int64_t> CountTsv(const std::string& tsv) const;
  absl::StatusOr<std::unique_ptr<ItemSink>> CreateSink(const std::string& out, int64_t num_images,
                                                       int64_t num_captions) const;
  // `features`: (records.size(), R, D).
  absl::Status AddImages(absl::Span<const ImageRecord> records, absl::Span<const float> features,
                         ItemSink& sink) const;
  absl::Status FinishSink(ItemSink& sink, int64_t num_items) const;

  const ModelInfo model_;
  const CaptionEncoder* const caption_encoder_;
  const ImageEncoder* const image_encoder_;
  const Options options_;
};

// The manifest of a living gallery of a model's features.
LivingManifest LivingManifestOf(const ModelInfo& model);

}  // namespace dime

#endif  // DIME_SERVER_GALLERY_IMPORT_H_
