#include "tests/fakes/fake_mutable_gallery.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <numeric>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "index/item_filter.h"
#include "index/record_subject.h"
#include "index/status_macros.h"
#include "tests/fakes/fake_model.h"

namespace dime {
namespace {

void Append(const EncodedItems& item, EncodedItems& items) {
  const auto append = [](const auto& from, auto& to) {
    to.insert(to.end(), from.begin(), from.end());
  };
  ++items.count;
  append(item.lengths, items.lengths);
  append(item.coarse, items.coarse);
  for (size_t d = 0; d < items.directions.size(); ++d) {
    append(item.directions[d].local, items.directions[d].local);
    append(item.directions[d].global, items.directions[d].global);
  }
}

}  // namespace

struct FakeMutableGallery::Item {
  ImageRecord image;
  CaptionRecord caption;
  EncodedItems features;  // count = 1

  const std::string& id() const { return image.id.empty() ? caption.id : image.id; }
  absl::Time create_time() const {
    return image.id.empty() ? caption.create_time : image.create_time;
  }
  FilterSubject subject() const { return image.id.empty() ? SubjectOf(caption) : SubjectOf(image); }
};

class FakeMutableGallery::View : public GalleryView {
 public:
  struct Side {
    EncodedItems shape;  // count = 0
    std::map<std::string, int64_t> rows;
    std::map<int64_t, std::shared_ptr<const Item>> items;
  };

  const GalleryInfo& info() const override { return info_; }
  int64_t size(Modality modality) const override {
    return static_cast<int64_t>(side(modality).items.size());
  }
  EncodedItemsView shape(Modality modality) const override { return side(modality).shape.view(); }
  absl::StatusOr<int64_t> FindRow(Modality modality, absl::string_view id) const override {
    const auto found = side(modality).rows.find(std::string(id));
    if (found != side(modality).rows.end()) return found->second;
    return absl::NotFoundError(absl::StrCat("no ", ModalityName(modality), " has the id ", id));
  }
  std::vector<int64_t> ListRows(Modality modality) const override {
    std::vector<int64_t> rows;
    for (const auto& [row, item] : side(modality).items) rows.push_back(row);
    return rows;
  }
  absl::StatusOr<std::vector<std::string>> ListIds(Modality modality, absl::string_view after_id,
                                                   int64_t limit) const override {
    std::vector<std::string> ids;
    const auto& rows = side(modality).rows;
    for (auto it = rows.upper_bound(std::string(after_id));
         it != rows.end() && static_cast<int64_t>(ids.size()) < limit; ++it) {
      ids.push_back(it->first);
    }
    return ids;
  }
  absl::Status VisitImages(absl::Span<const int64_t> rows, RecordParts /*parts*/,
                           absl::FunctionRef<void(const ImageRecord&)> visit) const override {
    for (const int64_t row : rows) {
      ASSIGN_OR_RETURN(const Item* item, Find(Modality::kImage, row));
      visit(item->image);
    }
    return absl::OkStatus();
  }
  absl::Status VisitCaptions(absl::Span<const int64_t> rows, RecordParts /*parts*/,
                             absl::FunctionRef<void(const CaptionRecord&)> visit) const override {
    for (const int64_t row : rows) {
      ASSIGN_OR_RETURN(const Item* item, Find(Modality::kCaption, row));
      visit(item->caption);
    }
    return absl::OkStatus();
  }
  absl::StatusOr<EncodedItems> ReadFeatures(Modality modality,
                                            absl::Span<const int64_t> rows) const override {
    EncodedItems features = side(modality).shape;
    for (const int64_t row : rows) {
      ASSIGN_OR_RETURN(const Item* item, Find(modality, row));
      Append(item->features, features);
    }
    return features;
  }
  absl::StatusOr<std::vector<Candidate>> Recall(Modality modality,
                                                absl::Span<const float> coarse_query, int64_t k,
                                                const RecallOptions& options) const override {
    if (coarse_query.size() != kFakeCoarseDim) {
      return absl::InvalidArgumentError("the query's width is wrong");
    }
    std::vector<Candidate> candidates;
    for (const auto& [row, item] : side(modality).items) {
      if (options.filter != nullptr && !options.filter->Matches(item->subject())) continue;
      const std::vector<float>& coarse = item->features.coarse;
      candidates.push_back(
          {row, std::inner_product(coarse.begin(), coarse.end(), coarse_query.begin(), 0.0f)});
    }
    std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
      return a.score != b.score ? a.score > b.score : a.row < b.row;
    });
    candidates.resize(std::min<int64_t>(k, candidates.size()));
    return candidates;
  }

  const Side& side(Modality modality) const { return sides[static_cast<int>(modality)]; }
  absl::StatusOr<const Item*> Find(Modality modality, int64_t row) const {
    const auto found = side(modality).items.find(row);
    if (found == side(modality).items.end()) {
      return absl::NotFoundError(absl::StrCat("row ", row, " is not alive"));
    }
    return found->second.get();
  }

  GalleryInfo info_;
  std::array<Side, 2> sides;  // by Modality
};

FakeMutableGallery::FakeMutableGallery() {
  auto view = std::make_shared<View>();
  view->info_ = {.name = "living",
                 .version = "v0",
                 .lineage = "living",
                 .model_fingerprint = "fake-fingerprint",
                 .image_index = "Flat",
                 .caption_index = "Flat",
                 .num_regions = kFakeNumRegions,
                 .max_words = kFakeMaxWords};
  view->sides[static_cast<int>(Modality::kImage)].shape =
      *FakeImageEncoder().EncodeImages(0, kFakeNumRegions, {});
  view->sides[static_cast<int>(Modality::kCaption)].shape =
      *FakeCaptionEncoder().EncodeCaptions({});
  view_ = std::move(view);
}

std::shared_ptr<const GalleryView> FakeMutableGallery::Pin() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return view_;
}

template <typename Record>
absl::StatusOr<std::vector<absl::Status>> FakeMutableGallery::Upsert(
    Modality modality, absl::Span<const Record> records, const EncodedItemsView& features) {
  if (on_write) RETURN_IF_ERROR(on_write(features.count));
  std::vector<absl::Status> statuses;
  std::lock_guard<std::mutex> lock(mutex_);
  auto view = std::make_shared<View>(*view_);
  View::Side& side = view->sides[static_cast<int>(modality)];
  for (size_t i = 0; i < records.size(); ++i) {
    if (records[i].id == "refused") {
      statuses.push_back(absl::InvalidArgumentError("the id is one that the gallery refuses"));
      continue;
    }
    Record record = records[i];
    record.create_time = record.update_time = absl::UnixEpoch() + absl::Seconds(++sequence_);
    const auto old = side.rows.find(record.id);
    if (old != side.rows.end()) {
      record.create_time = side.items.at(old->second)->create_time();
      side.items.erase(old->second);
    }
    auto item = std::make_shared<Item>();
    const int64_t place = static_cast<int64_t>(i);
    item->features = CopyItems(features, absl::MakeConstSpan(&place, 1));
    side.rows[record.id] = next_row_;
    if constexpr (std::is_same_v<Record, ImageRecord>) {
      item->image = std::move(record);
    } else {
      item->caption = std::move(record);
    }
    side.items[next_row_++] = std::move(item);
    statuses.push_back(absl::OkStatus());
  }
  view->info_.version = absl::StrCat("v", sequence_);
  view_ = std::move(view);
  return statuses;
}

absl::StatusOr<std::vector<absl::Status>> FakeMutableGallery::UpsertImages(
    absl::Span<const ImageRecord> records, const EncodedItemsView& features,
    absl::Span<const float> raw) {
  if (!raw.empty() && raw.size() != records.size() * kFakeNumRegions * kFakeFeatureDim) {
    return absl::InvalidArgumentError("the raw features' size is wrong");
  }
  return Upsert(Modality::kImage, records, features);
}

absl::StatusOr<std::vector<absl::Status>> FakeMutableGallery::UpsertCaptions(
    absl::Span<const CaptionRecord> records, const EncodedItemsView& features) {
  return Upsert(Modality::kCaption, records, features);
}

absl::StatusOr<std::vector<absl::Status>> FakeMutableGallery::Delete(
    Modality modality, absl::Span<const std::string> ids) {
  if (on_write) RETURN_IF_ERROR(on_write(static_cast<int64_t>(ids.size())));
  std::vector<absl::Status> statuses;
  std::lock_guard<std::mutex> lock(mutex_);
  auto view = std::make_shared<View>(*view_);
  View::Side& side = view->sides[static_cast<int>(modality)];
  for (const std::string& id : ids) {
    const auto found = side.rows.find(id);
    if (found == side.rows.end()) {
      statuses.push_back(absl::NotFoundError(absl::StrCat("there is no ", id)));
      continue;
    }
    side.items.erase(found->second);
    side.rows.erase(found);
    ++sequence_;
    statuses.push_back(absl::OkStatus());
  }
  view->info_.version = absl::StrCat("v", sequence_);
  view_ = std::move(view);
  return statuses;
}

absl::StatusOr<GalleryStats> FakeMutableGallery::Stats() const {
  std::lock_guard<std::mutex> lock(mutex_);
  GalleryStats stats;
  for (const Modality modality : {Modality::kImage, Modality::kCaption}) {
    GalleryStats::Side& side = stats.sides[static_cast<int>(modality)];
    side.items = view_->size(modality);
    side.tail = side.items;
  }
  stats.sequence = sequence_;
  stats.bytes_on_disk = 4096;
  return stats;
}

absl::Status FakeMutableGallery::CreateSnapshot(const std::string& directory) const {
  if (on_snapshot) on_snapshot();
  std::error_code error;
  if (!std::filesystem::create_directory(directory, error)) {
    return error ? absl::UnavailableError(error.message())
                 : absl::AlreadyExistsError(absl::StrCat(directory, " is there already"));
  }
  return absl::OkStatus();
}

}  // namespace dime
