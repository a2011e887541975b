#include "tests/fakes/fake_gallery.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace dime {

std::vector<float> FakeRegionFeatures(int seed) {
  std::vector<float> features(kFakeNumRegions * kFakeFeatureDim);
  for (size_t k = 0; k < features.size(); ++k) {
    features[k] = std::cos(static_cast<float>(seed * 31 + k * 17 + (seed * k) % 11));
  }
  return features;
}

std::vector<float> FakeBoxes(int seed) {
  std::vector<float> boxes;
  for (int r = 0; r < kFakeNumRegions; ++r) {
    const float corner = static_cast<float>(seed + 10 * r);
    for (const float side : {0, 1, 20, 31}) boxes.push_back(corner + side);
  }
  return boxes;
}

std::vector<std::string> FakeCaptions(int count) {
  static constexpr const char* kWords[] = {"red", "blue", "star", "ring", "two", "big", "left"};
  std::vector<std::string> captions;
  for (int c = 0; c < count; ++c) {
    std::string caption = kWords[c % 7];
    for (int w = 0; w < c % 6; ++w) absl::StrAppend(&caption, " ", kWords[(c * 3 + w * 5) % 7]);
    captions.push_back(caption);
  }
  return captions;
}

FakeGallery::FakeGallery(const Contents& contents) {
  info_ = {.name = "fake-gallery",
           .version = "v1",
           .lineage = "v1",
           .model_fingerprint = "fake-fingerprint",
           .image_index = "Flat",
           .caption_index = "Flat",
           .num_regions = kFakeNumRegions,
           .max_words = kFakeMaxWords};
  std::vector<float> features;
  for (int i = 0; i < contents.num_images; ++i) {
    const std::vector<float> image = FakeRegionFeatures(i);
    features.insert(features.end(), image.begin(), image.end());
    images_.push_back({.id = absl::StrCat("image-", i),
                       .width = 640 + i,
                       .height = 480,
                       .uri = absl::StrCat("file:///pictures/", i, ".png"),
                       .boxes = i % 2 == 0 ? FakeBoxes(i) : std::vector<float>()});
  }
  for (size_t c = 0; c < contents.captions.size(); ++c) {
    captions_.push_back({.id = absl::StrCat("caption-", c),
                         .text = contents.captions[c],
                         .image_id = contents.num_images > 0
                                         ? absl::StrCat("image-", c % contents.num_images)
                                         : ""});
  }
  items_[static_cast<int>(Modality::kImage)] =
      *FakeImageEncoder().EncodeImages(contents.num_images, kFakeNumRegions, features);
  items_[static_cast<int>(Modality::kCaption)] =
      *FakeCaptionEncoder().EncodeCaptions(contents.captions);
}

absl::StatusOr<int64_t> FakeGallery::FindRow(Modality modality, absl::string_view id) const {
  for (int64_t row = 0; row < size(modality); ++row) {
    if ((modality == Modality::kImage ? images_[row].id : captions_[row].id) == id) return row;
  }
  return absl::NotFoundError(absl::StrCat("no ", ModalityName(modality), " has the id ", id));
}

std::vector<int64_t> FakeGallery::ListRows(Modality modality) const {
  std::vector<int64_t> rows(size(modality));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

absl::StatusOr<std::vector<std::string>> FakeGallery::ListIds(Modality modality,
                                                              absl::string_view after_id,
                                                              int64_t limit) const {
  std::set<std::string> sorted;
  for (const ImageRecord& image : images_) {
    if (modality == Modality::kImage) sorted.insert(image.id);
  }
  for (const CaptionRecord& caption : captions_) {
    if (modality == Modality::kCaption) sorted.insert(caption.id);
  }
  std::vector<std::string> ids;
  for (auto next = sorted.upper_bound(std::string(after_id));
       next != sorted.end() && static_cast<int64_t>(ids.size()) < limit; ++next) {
    ids.push_back(*next);
  }
  return ids;
}

absl::Status FakeGallery::VisitImages(absl::Span<const int64_t> rows, RecordParts /*parts*/,
                                      absl::FunctionRef<void(const ImageRecord&)> visit) const {
  for (int64_t row : rows) visit(images_.at(row));
  return absl::OkStatus();
}

absl::Status FakeGallery::VisitCaptions(absl::Span<const int64_t> rows, RecordParts /*parts*/,
                                        absl::FunctionRef<void(const CaptionRecord&)> visit) const {
  for (int64_t row : rows) visit(captions_.at(row));
  return absl::OkStatus();
}

absl::StatusOr<EncodedItems> FakeGallery::ReadFeatures(Modality modality,
                                                       absl::Span<const int64_t> rows) const {
  return CopyItems(features(modality), rows);
}

absl::StatusOr<std::vector<Candidate>> FakeGallery::Recall(Modality modality,
                                                           absl::Span<const float> coarse_query,
                                                           int64_t k,
                                                           const RecallOptions& options) const {
  if (!options.exact) last_effort_ = options.effort;
  if (coarse_query.size() != kFakeCoarseDim) {
    return absl::InvalidArgumentError("the query's width is wrong");
  }
  const EncodedItemsView items = features(modality);
  std::vector<Candidate> candidates(items.count);
  for (int64_t row = 0; row < items.count; ++row) {
    const auto item = items.coarse.subspan(row * kFakeCoarseDim, kFakeCoarseDim);
    candidates[row] = {row,
                       std::inner_product(item.begin(), item.end(), coarse_query.begin(), 0.0f)};
  }
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return a.score != b.score ? a.score > b.score : a.row < b.row;
  });
  candidates.resize(std::min<int64_t>(k, candidates.size()));
  return candidates;
}

}  // namespace dime
