#include "tests/fakes/fake_mutable_gallery.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "index/record_subject.h"
#include "index/status_macros.h"

namespace dime {
namespace {

EncodedItemsView FakeShape(Modality modality) {
  EncodedItemsView shape{
      .modality = modality,
      .positions = modality == Modality::kImage ? kFakeNumRegions : kFakeMaxWords,
      .coarse_dim = kFakeCoarseDim};
  for (int d = 0; d < kNumDirections; ++d) shape.directions[d].embed_size = kFakeEmbedSize[d];
  return shape;
}

}  // namespace

struct FakeMutableGallery::Item {
  ImageRecord image;      // of an image
  CaptionRecord caption;  // of a caption
  EncodedItems features;  // count = 1

  const std::string& id() const { return image.id.empty() ? caption.id : image.id; }
  FilterSubject subject() const { return image.id.empty() ? SubjectOf(caption) : SubjectOf(image); }
};

class FakeMutableGallery::View : public GalleryView {
 public:
  View(std::array<Items, 2> items, GalleryInfo info)
      : items_(std::move(items)), info_(std::move(info)) {}

  const GalleryInfo& info() const override { return info_; }
  int64_t size(Modality modality) const override {
    return static_cast<int64_t>(items(modality).size());
  }
  EncodedItemsView shape(Modality modality) const override { return FakeShape(modality); }
  absl::StatusOr<int64_t> FindRow(Modality modality, absl::string_view id) const override {
    for (const auto& [row, item] : items(modality)) {
      if (item->id() == id) return row;
    }
    return absl::NotFoundError(absl::StrCat("no ", ModalityName(modality), " has the id ", id));
  }
  std::vector<int64_t> ListRows(Modality modality) const override {
    std::vector<int64_t> rows;
    for (const auto& [row, item] : items(modality)) rows.push_back(row);
    return rows;
  }
  absl::StatusOr<std::vector<std::string>> ListIds(Modality modality, absl::string_view after_id,
                                                   int64_t limit) const override {
    std::set<std::string> sorted;
    for (const auto& [row, item] : items(modality)) sorted.insert(item->id());
    std::vector<std::string> ids;
    for (auto next = sorted.upper_bound(std::string(after_id));
         next != sorted.end() && static_cast<int64_t>(ids.size()) < limit; ++next) {
      ids.push_back(*next);
    }
    return ids;
  }
  absl::StatusOr<std::vector<ImageRecord>> ReadImages(
      absl::Span<const int64_t> rows) const override {
    std::vector<ImageRecord> records;
    for (int64_t row : rows) {
      ASSIGN_OR_RETURN(const Item* item, Find(Modality::kImage, row));
      records.push_back(item->image);
    }
    return records;
  }
  absl::StatusOr<std::vector<CaptionRecord>> ReadCaptions(
      absl::Span<const int64_t> rows) const override {
    std::vector<CaptionRecord> records;
    for (int64_t row : rows) {
      ASSIGN_OR_RETURN(const Item* item, Find(Modality::kCaption, row));
      records.push_back(item->caption);
    }
    return records;
  }
  absl::StatusOr<EncodedItems> ReadFeatures(Modality modality,
                                            absl::Span<const int64_t> rows) const override {
    EncodedItems all = CopyItems(FakeShape(modality), {});
    const auto append = [](const auto& from, auto& to) {
      to.insert(to.end(), from.begin(), from.end());
    };
    for (int64_t row : rows) {
      ASSIGN_OR_RETURN(const Item* item, Find(modality, row));
      for (int d = 0; d < kNumDirections; ++d) {
        append(item->features.directions[d].local, all.directions[d].local);
        append(item->features.directions[d].global, all.directions[d].global);
      }
      append(item->features.lengths, all.lengths);
      append(item->features.coarse, all.coarse);
    }
    all.count = static_cast<int64_t>(rows.size());
    return all;
  }
  absl::StatusOr<std::vector<Candidate>> Recall(Modality modality,
                                                absl::Span<const float> coarse_query, int64_t k,
                                                const RecallOptions& options) const override {
    if (coarse_query.size() != kFakeCoarseDim) {
      return absl::InvalidArgumentError("the query's width is wrong");
    }
    std::vector<Candidate> candidates;
    for (const auto& [row, item] : items(modality)) {
      if (options.filter != nullptr && !options.filter->Matches(item->subject())) continue;
      candidates.push_back({row, std::inner_product(coarse_query.begin(), coarse_query.end(),
                                                    item->features.coarse.begin(), 0.0f)});
    }
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
    candidates.resize(std::min<size_t>(candidates.size(), static_cast<size_t>(k)));
    return candidates;
  }

 private:
  const Items& items(Modality modality) const { return items_[static_cast<int>(modality)]; }
  absl::StatusOr<const Item*> Find(Modality modality, int64_t row) const {
    const auto found = items(modality).find(row);
    if (found == items(modality).end()) {
      return absl::NotFoundError(absl::StrCat("no ", ModalityName(modality), " in row ", row));
    }
    return found->second.get();
  }

  const std::array<Items, 2> items_;
  const GalleryInfo info_;
};

FakeMutableGallery::FakeMutableGallery() = default;

std::shared_ptr<const GalleryView> FakeMutableGallery::Pin() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return std::make_shared<View>(items_, GalleryInfo{.name = "fake-mutable-gallery",
                                                    .version = absl::StrCat("v", next_row_),
                                                    .lineage = "fake-lineage",
                                                    .model_fingerprint = "fake-fingerprint",
                                                    .image_index = "Flat",
                                                    .caption_index = "Flat",
                                                    .num_regions = kFakeNumRegions,
                                                    .max_words = kFakeMaxWords});
}

absl::StatusOr<std::vector<absl::Status>> FakeMutableGallery::Upsert(
    Modality modality, int64_t count, const EncodedItemsView& features,
    const std::function<std::shared_ptr<Item>(int64_t place)>& make_item) {
  if (on_write) RETURN_IF_ERROR(on_write());
  if (!SameShape(features, FakeShape(modality)) || features.count != count) {
    return absl::InvalidArgumentError("the features do not have the gallery's sizes");
  }
  std::lock_guard<std::mutex> lock(mutex_);
  now_ += absl::Seconds(1);
  std::vector<absl::Status> statuses;
  Items& items = items_[static_cast<int>(modality)];
  for (int64_t i = 0; i < count; ++i) {
    const std::shared_ptr<Item> item = make_item(i);
    if (item->id().empty()) {
      statuses.push_back(absl::InvalidArgumentError("an item has no id"));
      continue;
    }
    absl::Time& create_time =
        modality == Modality::kImage ? item->image.create_time : item->caption.create_time;
    (modality == Modality::kImage ? item->image.update_time : item->caption.update_time) = now_;
    create_time = now_;
    for (auto old = items.begin(); old != items.end(); ++old) {
      if (old->second->id() != item->id()) continue;
      create_time = modality == Modality::kImage ? old->second->image.create_time
                                                 : old->second->caption.create_time;
      items.erase(old);
      break;
    }
    item->features = CopyItems(features, {i});
    items[next_row_++] = item;
    statuses.push_back(absl::OkStatus());
  }
  return statuses;
}

absl::StatusOr<std::vector<absl::Status>> FakeMutableGallery::UpsertImages(
    absl::Span<const ImageRecord> records, const EncodedItemsView& features,
    absl::Span<const float> raw) {
  return Upsert(Modality::kImage, static_cast<int64_t>(records.size()), features, [&](int64_t i) {
    auto item = std::make_shared<Item>();
    item->image = records[i];
    return item;
  });
}

absl::StatusOr<std::vector<absl::Status>> FakeMutableGallery::UpsertCaptions(
    absl::Span<const CaptionRecord> records, const EncodedItemsView& features) {
  return Upsert(Modality::kCaption, static_cast<int64_t>(records.size()), features, [&](int64_t i) {
    auto item = std::make_shared<Item>();
    item->caption = records[i];
    return item;
  });
}

absl::StatusOr<std::vector<absl::Status>> FakeMutableGallery::Delete(
    Modality modality, absl::Span<const std::string> ids) {
  if (on_write) RETURN_IF_ERROR(on_write());
  std::lock_guard<std::mutex> lock(mutex_);
  now_ += absl::Seconds(1);
  std::vector<absl::Status> statuses;
  Items& items = items_[static_cast<int>(modality)];
  for (const std::string& id : ids) {
    const auto found = std::find_if(items.begin(), items.end(),
                                    [&](const auto& entry) { return entry.second->id() == id; });
    if (found == items.end()) {
      statuses.push_back(
          absl::NotFoundError(absl::StrCat("no ", ModalityName(modality), " has the id ", id)));
      continue;
    }
    items.erase(found);
    ++next_row_;
    statuses.push_back(absl::OkStatus());
  }
  return statuses;
}

absl::StatusOr<GalleryStats> FakeMutableGallery::Stats() const {
  std::lock_guard<std::mutex> lock(mutex_);
  GalleryStats stats;
  for (int m = 0; m < 2; ++m) {
    stats.sides[m].items = static_cast<int64_t>(items_[m].size());
    stats.sides[m].tail = stats.sides[m].items;
  }
  stats.sequence = next_row_ - 1;
  return stats;
}

absl::Status FakeMutableGallery::CreateSnapshot(const std::string& directory) const {
  std::lock_guard<std::mutex> lock(mutex_);
  if (std::find(snapshots_.begin(), snapshots_.end(), directory) != snapshots_.end()) {
    return absl::AlreadyExistsError(absl::StrCat(directory, " is there already"));
  }
  snapshots_.push_back(directory);
  return absl::OkStatus();
}

std::vector<std::string> FakeMutableGallery::snapshots() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return snapshots_;
}

absl::Time FakeMutableGallery::now() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return now_;
}

}  // namespace dime
