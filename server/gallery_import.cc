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
  ASSIGN_OR_RETURN(const std::unique_ptr<GalleryBuilder> builder,
                   CreateBuilder(out, dataset.num_images(), dataset.num_captions()));

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
    RETURN_IF_ERROR(AddImages(records, features, *builder));
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
    RETURN_IF_ERROR(builder->AddCaptions(records, encoded.view()));
    caption_bar.Advance(count);
  }
  caption_bar.Finish();
  return FinishBuilder(*builder, dataset.num_images() + dataset.num_captions());
}

absl::Status GalleryImporter::ImportTsv(const std::string& tsv, const std::string& out) const {
  ASSIGN_OR_RETURN(const int64_t num_images, CountTsv(tsv));
  ASSIGN_OR_RETURN(const std::unique_ptr<GalleryBuilder> builder,
                   CreateBuilder(out, num_images, /*num_captions=*/0));
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
    RETURN_IF_ERROR(AddImages(records, features, *builder));
    done += count;
    bar.Advance(count);
  }
  bar.Finish();
  return FinishBuilder(*builder, num_images);
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

absl::StatusOr<std::unique_ptr<GalleryBuilder>> GalleryImporter::CreateBuilder(
    const std::string& out, int64_t num_images, int64_t num_captions) const {
  return GalleryBuilder::Create(out, {.model_fingerprint = model_.fingerprint,
                                      .num_images = num_images,
                                      .num_captions = num_captions,
                                      .index = options_.index,
                                      .overwrite = options_.overwrite});
}

absl::Status GalleryImporter::AddImages(absl::Span<const ImageRecord> records,
                                        absl::Span<const float> features,
                                        GalleryBuilder& builder) const {
  ASSIGN_OR_RETURN(const EncodedItems encoded,
                   image_encoder_->EncodeImages(static_cast<int64_t>(records.size()),
                                                model_.num_regions, features));
  return builder.AddImages(records, encoded.view());
}

absl::Status GalleryImporter::FinishBuilder(GalleryBuilder& builder, int64_t num_items) const {
  ProgressBar bar("building the coarse indexes", num_items, options_.progress);
  RETURN_IF_ERROR(builder.Finish([&bar](int64_t indexed) { bar.Advance(indexed); }));
  bar.Finish();
  return absl::OkStatus();
}

}  // namespace dime
