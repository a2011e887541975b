#include "server/gallery_import.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "index/progress_bar.h"
#include "index/status_macros.h"

namespace dime {

absl::Status GalleryImporter::ImportDataset(const PrecomputedDataset& dataset,
                                            const std::string& out) const {
  RETURN_IF_ERROR(CheckSizes("the data set", dataset.num_regions(), dataset.feature_dim()));
  ASSIGN_OR_RETURN(const std::unique_ptr<ItemSink> sink,
                   CreateSink(out, dataset.num_images(), dataset.num_captions()));

  const int64_t image_size = int64_t{dataset.num_regions()} * dataset.feature_dim();
  ProgressBar image_bar("encoding images", dataset.num_images(), options_.progress);
  for (int64_t first = 0; first < dataset.num_images(); first += options_.batch) {
    const int64_t count = std::min<int64_t>(options_.batch, dataset.num_images() - first);
    std::vector<float> features(count * image_size);
    RETURN_IF_ERROR(dataset.ReadFeatures(first, count, absl::MakeSpan(features)));
    std::vector<ImageRecord> records;
    for (int64_t row = first; row < first + count; ++row) {
      ASSIGN_OR_RETURN(ImageRecord record, dataset.Image(row));
      records.push_back(std::move(record));
    }
    RETURN_IF_ERROR(AddImages(records, features, *sink));
    image_bar.Advance(count);
  }
  image_bar.Finish();

  ProgressBar caption_bar("encoding captions", dataset.num_captions(), options_.progress);
  for (int64_t first = 0; first < dataset.num_captions(); first += options_.batch) {
    const int64_t count = std::min<int64_t>(options_.batch, dataset.num_captions() - first);
    ASSIGN_OR_RETURN(const EncodedItems encoded,
                     caption_encoder_->EncodeCaptions(
                         absl::MakeConstSpan(dataset.captions()).subspan(first, count)));
    std::vector<CaptionRecord> records;
    for (int64_t row = first; row < first + count; ++row) records.push_back(dataset.Caption(row));
    RETURN_IF_ERROR(sink->AddCaptions(records, encoded.view()));
    caption_bar.Advance(count);
  }
  caption_bar.Finish();
  return FinishSink(*sink, dataset.num_images() + dataset.num_captions());
}

absl::Status GalleryImporter::ImportTsv(const std::string& tsv, const std::string& out) const {
  ASSIGN_OR_RETURN(const int64_t num_images, CountTsv(tsv));
  ASSIGN_OR_RETURN(const std::unique_ptr<ItemSink> sink,
                   CreateSink(out, num_images, /*num_captions=*/0));
  ASSIGN_OR_RETURN(const std::unique_ptr<BottomUpTsvReader> reader, BottomUpTsvReader::Open(tsv));

  ProgressBar bar("encoding images", num_images, options_.progress);
  for (int64_t done = 0; done < num_images;) {
    std::vector<ImageRecord> records;
    std::vector<float> features;
    const int64_t count = std::min<int64_t>(options_.batch, num_images - done);
    for (int64_t i = 0; i < count; ++i) {
      ASSIGN_OR_RETURN(BottomUpTsvReader::Row row, reader->Next());
      features.insert(features.end(), row.features.begin(), row.features.end());
      records.push_back(std::move(row.image));
    }
    RETURN_IF_ERROR(AddImages(records, features, *sink));
    done += count;
    bar.Advance(count);
  }
  bar.Finish();
  return FinishSink(*sink, num_images);
}

absl::Status GalleryImporter::CheckSizes(absl::string_view what, int num_regions,
                                         int feature_dim) const {
  if (num_regions == model_.num_regions && feature_dim == model_.feature_dim) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat(what, " has features of ", num_regions, " regions x ", feature_dim, "; model ",
                   model_.name, " takes ", model_.num_regions, " x ", model_.feature_dim));
}

absl::StatusOr<int64_t> GalleryImporter::CountTsv(const std::string& tsv) const {
  ASSIGN_OR_RETURN(const std::unique_ptr<BottomUpTsvReader> reader, BottomUpTsvReader::Open(tsv));
  // In hundredths, since the number of rows is what is wanted.
  ProgressBar bar(absl::StrCat("reading ", tsv), 100, options_.progress);
  int64_t count = 0;
  while (true) {
    const absl::StatusOr<BottomUpTsvReader::Row> row = reader->Next();
    if (absl::IsOutOfRange(row.status())) break;
    RETURN_IF_ERROR(row.status());
    RETURN_IF_ERROR(CheckSizes(absl::StrCat("image ", row->image.id, " of ", tsv), row->num_regions,
                               row->feature_dim));
    ++count;
    bar.SetNote(absl::StrCat(count, " images"));
    bar.AdvanceTo(static_cast<int64_t>(reader->Progress() * 100));
  }
  bar.Finish();
  return count;
}

absl::StatusOr<std::unique_ptr<ItemSink>> GalleryImporter::CreateSink(const std::string& out,
                                                                      int64_t num_images,
                                                                      int64_t num_captions) const {
  if (options_.living) {
    LivingManifest manifest = LivingManifestOf(model_);
    manifest.index = options_.index.factory;
    manifest.form = options_.form;
    if (options_.keep_raw) manifest.raw_feature_dim = model_.feature_dim;
    ASSIGN_OR_RETURN(std::unique_ptr<LivingSink> sink, LivingSink::Create(out, manifest));
    return std::unique_ptr<ItemSink>(std::move(sink));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<GalleryBuilder> builder,
                   GalleryBuilder::Create(out, {.model_fingerprint = model_.fingerprint,
                                                .num_images = num_images,
                                                .num_captions = num_captions,
                                                .index = options_.index,
                                                .overwrite = options_.overwrite}));
  return std::unique_ptr<ItemSink>(std::make_unique<BuilderSink>(std::move(builder)));
}

absl::Status GalleryImporter::MakeEmpty(const std::string& out) const {
  if (!options_.living) {
    return absl::InvalidArgumentError("only a living gallery can be made without items");
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<ItemSink> sink, CreateSink(out, 0, 0));
  return sink->Finish(nullptr);
}

absl::Status GalleryImporter::AddImages(absl::Span<const ImageRecord> records,
                                        absl::Span<const float> features, ItemSink& sink) const {
  ASSIGN_OR_RETURN(const EncodedItems encoded,
                   image_encoder_->EncodeImages(static_cast<int64_t>(records.size()),
                                                model_.num_regions, features));
  return sink.AddImages(records, encoded.view(), features);
}

absl::Status GalleryImporter::FinishSink(ItemSink& sink, int64_t num_items) const {
  ProgressBar bar("building the coarse indexes", num_items, options_.progress);
  RETURN_IF_ERROR(sink.Finish([&bar](int64_t indexed) { bar.Advance(indexed); }));
  bar.Finish();
  return absl::OkStatus();
}

LivingManifest LivingManifestOf(const ModelInfo& model) {
  LivingManifest manifest;
  manifest.model_fingerprint = model.fingerprint;
  for (const Modality modality : {Modality::kImage, Modality::kCaption}) {
    EncodedItemsView& shape = manifest.shapes[static_cast<int>(modality)];
    shape.modality = modality;
    shape.positions = modality == Modality::kImage ? model.num_regions : model.max_words;
    shape.coarse_dim = model.coarse_dim;
    for (int d = 0; d < kNumDirections; ++d) {
      shape.directions[d].embed_size = model.directions[d].embed_size;
    }
  }
  return manifest;
}

}  // namespace dime
