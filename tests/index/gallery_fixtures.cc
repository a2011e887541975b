#include "tests/index/gallery_fixtures.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "index/status_macros.h"
#include "tests/index/file_fixtures.h"

namespace dime {
namespace {

constexpr int64_t kBatch = 4;
constexpr int kCoarseDim = 8;

}  // namespace

EncodedItems MakeItems(Modality modality, int64_t count, uint32_t seed) {
  EncodedItems items;
  items.modality = modality;
  items.count = count;
  items.positions = modality == Modality::kImage ? 2 : 3;
  for (int64_t i = 0; i < count; ++i) {
    items.lengths.push_back(modality == Modality::kImage ? 2 : static_cast<int32_t>(1 + i % 3));
  }
  for (const Direction direction : kDirections) {
    DirectionFeatures& features = items.directions[static_cast<size_t>(direction)];
    features.embed_size = direction == Direction::kI2t ? 4 : 5;
    features.local = UnitVectors(count * items.positions, features.embed_size, ++seed);
    features.global = UnitVectors(count, features.embed_size, ++seed);
  }
  items.coarse_dim = kCoarseDim;
  items.coarse = UnitVectors(count, kCoarseDim, ++seed);
  return items;
}

std::vector<ImageRecord> MakeImages(int64_t count) {
  std::vector<ImageRecord> images;
  for (int64_t i = 0; i < count; ++i) {
    const float x = static_cast<float>(i);
    images.push_back({.id = absl::StrCat("image-", i),
                      .width = 640,
                      .height = static_cast<int32_t>(i),  // 0 = unknown for the first
                      .uri = i % 2 == 0 ? absl::StrCat("file:///", i, ".png") : "",
                      .boxes = {x, 0, x + 1, 1, x, 1, x + 1.5f, 2}});
  }
  return images;
}

std::vector<CaptionRecord> MakeCaptions(int64_t count) {
  std::vector<CaptionRecord> captions;
  for (int64_t i = 0; i < count; ++i) {
    captions.push_back({.id = absl::StrCat("image-", i / 2, "#", i % 2),
                        .text = absl::StrCat("\"caf\xC3\xA9\" number ", i, "\n"),
                        .image_id = i % 3 == 0 ? "" : absl::StrCat("image-", i / 2)});
  }
  return captions;
}

absl::Status BuildTestGallery(const std::string& directory, int64_t images, int64_t captions,
                              const GalleryBuilder::Options& options) {
  GalleryBuilder::Options all = options;
  all.model_fingerprint = kTestFingerprint;
  all.num_images = images;
  all.num_captions = captions;
  ASSIGN_OR_RETURN(auto builder, GalleryBuilder::Create(directory, all));
  const EncodedItems image_items = MakeItems(Modality::kImage, images, 100);
  const std::vector<ImageRecord> image_records = MakeImages(images);
  for (int64_t first = 0; first < images; first += kBatch) {
    const int64_t n = std::min(kBatch, images - first);
    RETURN_IF_ERROR(
        builder->AddImages(absl::MakeConstSpan(image_records)
                               .subspan(static_cast<size_t>(first), static_cast<size_t>(n)),
                           image_items.view().Slice(first, n)));
  }
  const EncodedItems caption_items = MakeItems(Modality::kCaption, captions, 200);
  const std::vector<CaptionRecord> caption_records = MakeCaptions(captions);
  for (int64_t first = 0; first < captions; first += kBatch) {
    const int64_t n = std::min(kBatch, captions - first);
    RETURN_IF_ERROR(
        builder->AddCaptions(absl::MakeConstSpan(caption_records)
                                 .subspan(static_cast<size_t>(first), static_cast<size_t>(n)),
                             caption_items.view().Slice(first, n)));
  }
  return builder->Finish();
}

std::string Contents(const GalleryView& gallery) {
  const GalleryInfo& info = gallery.info();
  std::string text =
      absl::StrCat(info.name, " ", info.version, " ", info.model_fingerprint, " ", info.image_index,
                   " ", info.caption_index, " ", info.num_regions, " ", info.max_words, "\n");
  const std::vector<float> query = UnitVectors(1, kCoarseDim, 300);
  for (const Modality modality : {Modality::kImage, Modality::kCaption}) {
    for (const int64_t row : gallery.ListRows(modality)) {
      if (modality == Modality::kImage) {
        const ImageRecord image = gallery.ReadImage(row).value();
        absl::StrAppend(&text, image.id, " ", image.width, " ", image.height, " ", image.uri, " ",
                        absl::StrJoin(image.boxes, ","), "\n");
      } else {
        const CaptionRecord caption = gallery.ReadCaption(row).value();
        absl::StrAppend(&text, caption.id, " ", caption.text, " ", caption.image_id, "\n");
      }
    }
    const EncodedItems owned = gallery.ReadFeatures(modality, gallery.ListRows(modality)).value();
    const EncodedItemsView items = owned.view();
    absl::StrAppend(&text, items.count, " ", items.positions, " ", items.coarse_dim, " ",
                    absl::StrJoin(items.lengths, ","), " ", absl::StrJoin(items.coarse, ","), "\n");
    for (const DirectionFeaturesView& features : items.directions) {
      absl::StrAppend(&text, features.embed_size, " ", absl::StrJoin(features.local, ","), " ",
                      absl::StrJoin(features.global, ","), "\n");
    }
    const auto candidates = gallery.Recall(modality, query, 5, {});
    if (!candidates.ok()) return candidates.status().ToString();
    for (const Candidate& candidate : *candidates) {
      absl::StrAppend(&text, candidate.row, ":", candidate.score, " ");
    }
  }
  return text;
}

}  // namespace dime
