#include "benchmarks/synthetic_gallery.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmarks/micro_fixture.h"
#include "index/gallery_builder.h"
#include "index/status_macros.h"
#include "index/store_gallery.h"

namespace dime {
namespace {

constexpr int64_t kBatch = 512;
constexpr int kWords = 8;

Payload MakePayload(int64_t number) {
  return {{"collection", absl::StrCat("collection-", number % 17)},
          {"licence", "CC BY 4.0"},
          {"rating", 1.0 + static_cast<double>(number % 9) / 2},
          {"tags", {"outdoor", absl::StrCat("tag-", number % 101), "drawn"}},
          {"reviewed", number % 3 == 0},
          {"author", {{"name", absl::StrCat("author ", number % 211)}, {"country", "NO"}}}};
}

// Calls `add` with records and features, batch by batch.
template <typename Record, typename Make, typename Add>
absl::Status AddInBatches(const ModelInfo& model, Modality modality, int64_t count, Make make,
                          Add add) {
  if (count == 0) return absl::OkStatus();
  EncodedItems items = RandomItems(model, modality, std::min(count, kBatch), 1);
  for (int64_t first = 0; first < count; first += kBatch) {
    const int64_t size = std::min(kBatch, count - first);
    // Embeddings of their own, so that the coarse index has something to tell apart.
    ModelInfo coarse_alone = model;
    coarse_alone.directions = {};
    items.coarse = RandomItems(coarse_alone, modality, std::min(count, kBatch),
                               static_cast<uint64_t>(2 + first))
                       .coarse;
    std::vector<Record> records;
    for (int64_t i = first; i < first + size; ++i) records.push_back(make(i));
    RETURN_IF_ERROR(add(records, items.view().Slice(0, size)));
  }
  return absl::OkStatus();
}

absl::Status FirstError(const absl::StatusOr<std::vector<absl::Status>>& statuses) {
  RETURN_IF_ERROR(statuses.status());
  for (const absl::Status& status : *statuses) RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

}  // namespace

absl::Status SyntheticGallery::Write(const std::string& directory, const ModelInfo& model) const {
  const auto image = [this](int64_t i) {
    ImageRecord record{.id = absl::StrCat("image-", i),
                       .width = 640,
                       .height = 480,
                       .uri = absl::StrCat("https://pictures.example/", i, ".png")};
    if (payloads) record.payload = MakePayload(i);
    return record;
  };
  const auto caption = [this](int64_t i) {
    CaptionRecord record{
        .id = absl::StrCat("caption-", i),
        .text = MicroCaption(kWords, i),
        .image_id = images > 0 ? absl::StrCat("image-", i % images) : std::string()};
    if (payloads) record.payload = MakePayload(i);
    return record;
  };
  if (!living) {
    ASSIGN_OR_RETURN(const std::unique_ptr<GalleryBuilder> builder,
                     GalleryBuilder::Create(directory, {.model_fingerprint = model.fingerprint,
                                                        .num_images = images,
                                                        .num_captions = captions}));
    RETURN_IF_ERROR(AddInBatches<ImageRecord>(
        model, Modality::kImage, images, image,
        [&](absl::Span<const ImageRecord> records, const EncodedItemsView& items) {
          return builder->AddImages(records, items);
        }));
    RETURN_IF_ERROR(AddInBatches<CaptionRecord>(
        model, Modality::kCaption, captions, caption,
        [&](absl::Span<const CaptionRecord> records, const EncodedItemsView& items) {
          return builder->AddCaptions(records, items);
        }));
    return builder->Finish();
  }
  LivingManifest manifest;
  manifest.model_fingerprint = model.fingerprint;
  for (const Modality modality : {Modality::kImage, Modality::kCaption}) {
    const EncodedItems one = RandomItems(model, modality, 1, 1);
    manifest.shapes[static_cast<size_t>(modality)] = ShapeOf(one.view());
  }
  StoreGallery::Options options;
  options.background_merges = false;
  ASSIGN_OR_RETURN(const std::unique_ptr<StoreGallery> gallery,
                   StoreGallery::Create(directory, manifest, options));
  RETURN_IF_ERROR(AddInBatches<ImageRecord>(
      model, Modality::kImage, images, image,
      [&](absl::Span<const ImageRecord> records, const EncodedItemsView& items) {
        return FirstError(gallery->UpsertImages(records, items, {}));
      }));
  RETURN_IF_ERROR(AddInBatches<CaptionRecord>(
      model, Modality::kCaption, captions, caption,
      [&](absl::Span<const CaptionRecord> records, const EncodedItemsView& items) {
        return FirstError(gallery->UpsertCaptions(records, items));
      }));
  return gallery->MergeNow();
}

}  // namespace dime
