#include "index/store_gallery.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <optional>
#include <random>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "index/durable_file.h"
#include "index/item_checks.h"
#include "index/search_settings.h"
#include "index/status_macros.h"
#include "index/store_gallery_view.h"
#include "index/text_lines.h"
#include "index/thread_priority.h"

namespace dime {
namespace {

constexpr std::array<Modality, 2> kModalities = {Modality::kImage, Modality::kCaption};
constexpr char kStoreName[] = "store";
constexpr char kMarkName[] = "acknowledged";
constexpr int64_t kMaxCommitBytes = int64_t{8} << 20;
// With less room than this on the disk writes are refused before the store runs into its end.
constexpr uint64_t kSpareBytes = uint64_t{32} << 20;
constexpr size_t kShownFingerprint = 12;  // digits, in messages
// A tail so many times its limit is merged at ordinary priority, so that it comes to an end.
constexpr int64_t kUrgentTail = 4;

void Warn(absl::string_view message) {
  std::fprintf(stderr, "warning: %.*s\n", static_cast<int>(message.size()), message.data());
}

const char* SideName(Modality modality) {
  return modality == Modality::kImage ? "images" : "captions";
}

std::string NameOf(const std::string& directory) {
  std::error_code error;
  std::filesystem::path path = std::filesystem::weakly_canonical(directory, error);
  if (error) path = directory;
  if (!path.has_filename()) path = path.parent_path();
  return path.filename().string();
}

std::string RandomLineage() {
  std::random_device random;
  return absl::StrFormat("%08x%08x", random(), random());
}

absl::Status CopyFile(const std::string& from, const std::string& to) {
  std::error_code error;
  std::filesystem::create_hard_link(from, to, error);
  if (error) std::filesystem::copy_file(from, to, error);
  if (error) return FileError(error.value(), absl::StrCat("cannot copy ", from, " to"), to);
  return absl::OkStatus();
}

int64_t BytesBelow(const std::string& directory) {
  std::error_code error;
  int64_t bytes = 0;
  std::filesystem::recursive_directory_iterator entries(directory, error);
  for (; !error && entries != std::filesystem::recursive_directory_iterator();
       entries.increment(error)) {
    std::error_code gone;  // files come and go
    const uintmax_t size = entries->is_regular_file(gone) ? entries->file_size(gone) : 0;
    if (!gone) bytes += static_cast<int64_t>(size);
  }
  return bytes;
}

}  // namespace

struct StoreGallery::Pending {
  size_t place = 0;  // within the call
  ItemStore::Change change;
  // Of the item written; neither for a removal.
  std::optional<ImageRecord> image;
  std::optional<CaptionRecord> caption;
  absl::Span<const float> coarse;

  int64_t bytes() const {
    int64_t sum = 0;
    for (const std::optional<std::string>& part : change.parts) {
      if (part.has_value()) sum += static_cast<int64_t>(part->size());
    }
    return sum;
  }
};

StoreGallery::StoreGallery(std::string directory, Options options, LivingManifest manifest,
                           std::unique_ptr<DirectoryLock> lock)
    : directory_(std::move(directory)),
      options_(std::move(options)),
      manifest_(std::move(manifest)),
      name_(NameOf(directory_)),
      base_files_{CoarseBaseFiles(directory_, SideName(Modality::kImage)),
                  CoarseBaseFiles(directory_, SideName(Modality::kCaption))},
      lock_(std::move(lock)) {}

StoreGallery::~StoreGallery() {
  {
    std::lock_guard<std::mutex> lock(merge_mutex_);
    stopping_ = true;
    merge_wanted_.notify_all();
  }
  if (merge_thread_.joinable()) merge_thread_.join();
  std::lock_guard<std::mutex> lock(version_mutex_);
  version_ = nullptr;
}

bool StoreGallery::IsAt(const std::string& directory) {
  std::error_code error;
  return std::filesystem::exists(absl::StrCat(directory, "/", kLivingManifestName), error);
}

absl::StatusOr<std::unique_ptr<StoreGallery>> StoreGallery::Create(const std::string& directory,
                                                                   LivingManifest manifest,
                                                                   const Options& options) {
  if (directory.empty()) return absl::InvalidArgumentError("the gallery's directory has no name");
  for (const Modality modality : kModalities) {
    EncodedItemsView& shape = manifest.shapes[static_cast<size_t>(modality)];
    shape.modality = modality;
    bool has_direction = false;
    for (const DirectionFeaturesView& features : shape.directions) {
      has_direction |= features.embed_size > 0;
    }
    if (shape.positions < 1 || shape.coarse_dim < 1 || !has_direction) {
      return absl::InvalidArgumentError(
          absl::StrCat("a gallery needs the sizes of its ", ModalityName(modality), "s' features"));
    }
  }
  std::error_code error;
  if (std::filesystem::exists(directory, error) && !std::filesystem::is_empty(directory, error)) {
    return absl::AlreadyExistsError(
        absl::StrCat(directory, " is there already; choose another name, or remove it first"));
  }
  std::filesystem::create_directories(directory, error);
  if (error) return FileError(error.value(), "cannot create", directory);
  ASSIGN_OR_RETURN(std::unique_ptr<DirectoryLock> lock, DirectoryLock::Take(directory));
  manifest.lineage = RandomLineage();
  // The store first: a directory with the manifest is whole.
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<ItemStore> store,
                     ItemStore::Open(absl::StrCat(directory, "/", kStoreName), /*create=*/true));
    RETURN_IF_ERROR(store->Write({}, ItemStore::State()));
  }
  RETURN_IF_ERROR(manifest.Write(directory));
  lock = nullptr;
  return Open(directory, options);
}

absl::StatusOr<std::unique_ptr<StoreGallery>> StoreGallery::Open(const std::string& directory,
                                                                 const Options& options) {
  absl::StatusOr<LivingManifest> manifest = LivingManifest::Read(directory);
  if (absl::IsNotFound(manifest.status())) {
    return absl::NotFoundError(absl::StrCat("there is no living gallery at ", directory, " (no ",
                                            kLivingManifestName, ")"));
  }
  if (!manifest.ok()) return manifest.status();
  if (!options.expected_model_fingerprint.empty() &&
      options.expected_model_fingerprint != manifest->model_fingerprint) {
    return absl::FailedPreconditionError(absl::StrCat(
        "gallery ", directory, " was made with model ",
        manifest->model_fingerprint.substr(0, kShownFingerprint), " but the server runs ",
        options.expected_model_fingerprint.substr(0, kShownFingerprint),
        "; encode it for that model with dime_rebuild, or start the server with the model it was "
        "made with"));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<DirectoryLock> lock, DirectoryLock::Take(directory));
  std::unique_ptr<StoreGallery> gallery(
      new StoreGallery(directory, options, *std::move(manifest), std::move(lock)));
  RETURN_IF_ERROR(gallery->Load());
  return gallery;
}

absl::Status StoreGallery::Load() {
  ASSIGN_OR_RETURN(store_, ItemStore::Open(absl::StrCat(directory_, "/", kStoreName),
                                           /*create=*/false));
  auto version = std::make_shared<Version>();
  version->snapshot = store_->TakeSnapshot();
  ASSIGN_OR_RETURN(version->state, store_->ReadState(version->snapshot.get()));
  {
    std::lock_guard<std::mutex> lock(write_mutex_);
    const std::string path = absl::StrCat(directory_, "/", kMarkName);
    ASSIGN_OR_RETURN(mark_, AcknowledgedMark::Open(path));
    const int64_t sequence = version->state.sequence;
    if (mark_->found().has_value() && *mark_->found() > sequence) {
      return absl::DataLossError(absl::StrCat(
          "gallery ", directory_, " lacks ", *mark_->found() - sequence,
          " acknowledged writes (it ends with write ", sequence, " of ", *mark_->found(),
          "): a file of its store was cut off. Restore a snapshot, or remove ", path,
          " to go on with what is left"));
    }
    if (!mark_->found().has_value() && sequence > 0) {
      Warn(absl::StrCat(path,
                        " is missing or damaged; whether the store's log was cut off cannot "
                        "be told. It is written anew"));
    }
    RETURN_IF_ERROR(mark_->Set(sequence));
  }
  for (const Modality modality : kModalities) {
    RETURN_IF_ERROR(LoadSide(modality, version->snapshot.get(), version->state,
                             version->sides[static_cast<size_t>(modality)]));
  }
  Publish(std::move(version));
  StartMergeThread();
  return absl::OkStatus();
}

absl::Status StoreGallery::LoadSide(Modality modality, const ItemStore::Snapshot* snapshot,
                                    const ItemStore::State& state, Side& side) {
  const size_t m = static_cast<size_t>(modality);
  const int dim = manifest_.shapes[m].coarse_dim;
  std::vector<int64_t> live;
  uint64_t digest = 0;
  RETURN_IF_ERROR(store_->ScanIds(snapshot, modality, [&](absl::string_view id, int64_t row) {
    live.push_back(row);
    digest += ItemStore::DigestOf(id, row);
  }));
  std::sort(live.begin(), live.end());
  if (static_cast<int64_t>(live.size()) != state.items[m] || digest != state.digests[m]) {
    return absl::DataLossError(
        absl::StrCat("gallery ", directory_, ": the store holds ", live.size(), " ",
                     SideName(modality), ", not the ", state.items[m],
                     " that were written; a file of it is damaged. Restore a snapshot"));
  }
  side.live = static_cast<int64_t>(live.size());

  // The latest base that is whole and no newer than the store.
  const CoarseBaseFiles& files = base_files_[m];
  for (const int64_t sequence : files.Sequences()) {
    absl::StatusOr<std::shared_ptr<CoarseBase>> base = CoarseBase::Load(files.Name(sequence));
    absl::Status unfit = base.status();
    if (base.ok() && ((*base)->dim() != dim || (*base)->sequence() > state.sequence)) {
      unfit = absl::InvalidArgumentError(
          absl::StrCat(CoarseBase::RowsPath(files.Name(sequence)), " is of another gallery"));
    }
    if (unfit.ok()) {
      // Each live row that is old enough must be in it; what else it has has ended.
      size_t next = 0;
      int64_t dead = 0;
      for (int64_t place = 0; place < (*base)->size(); ++place) {
        if (next < live.size() && live[next] == (*base)->row(place)) {
          ++next;
        } else {
          (*base)->SetEnd(place, (*base)->sequence());
          ++dead;
        }
      }
      if (next < live.size() && live[next] <= (*base)->sequence()) {
        unfit = absl::InvalidArgumentError(
            absl::StrCat(CoarseBase::RowsPath(files.Name(sequence)), " lacks row ", live[next]));
      } else {
        RETURN_IF_ERROR((*base)->SearchElsewhere(options_.searchers));
        side.base = *std::move(base);
        side.dead = dead;
        break;
      }
    }
    Warn(absl::StrCat(unfit.message(), "; it is left aside"));
  }

  // What the base does not have comes from the store.
  const int64_t from = side.base != nullptr ? side.base->sequence() + 1 : 0;
  const auto first = std::lower_bound(live.begin(), live.end(), from);
  std::vector<int64_t> rows;
  std::vector<float> vectors;
  std::vector<float> vector(static_cast<size_t>(dim));
  RETURN_IF_ERROR(store_->Scan(snapshot, ItemStore::Part::kCoarse, modality, from,
                               std::numeric_limits<int64_t>::max(),
                               [&](int64_t row, absl::string_view value) -> absl::Status {
                                 RETURN_IF_ERROR(DecodeFloats(value, absl::MakeSpan(vector)));
                                 rows.push_back(row);
                                 vectors.insert(vectors.end(), vector.begin(), vector.end());
                                 return absl::OkStatus();
                               }));
  if (!std::equal(rows.begin(), rows.end(), first, live.end())) {
    return absl::DataLossError(absl::StrCat(
        "gallery ", directory_, ": the coarse embeddings of its ", SideName(modality),
        " are not those of its items; a file of the store is damaged. Restore a snapshot"));
  }
  auto tail = std::make_shared<CoarseTail>(dim);
  if (side.base == nullptr && static_cast<int64_t>(rows.size()) > options_.max_tail) {
    Warn(absl::StrCat("gallery ", directory_, " has no whole coarse index of its ",
                      SideName(modality), "; building it from the store"));
    ASSIGN_OR_RETURN(side.base, BuildBase(modality, std::move(rows), std::move(vectors),
                                          state.sequence, /*threads=*/0));
    if (const absl::Status saved = side.base->Save(files.Name(state.sequence)); !saved.ok()) {
      Warn(absl::StrCat("the coarse index was not saved: ", saved.message()));
    }
  } else {
    for (size_t i = 0; i < rows.size(); ++i) {
      tail->Append(rows[i], absl::MakeConstSpan(vectors).subspan(i * vector.size(), vector.size()));
    }
  }
  side.tail = std::move(tail);
  return absl::OkStatus();
}

absl::Time StoreGallery::Now() const { return options_.clock ? options_.clock() : absl::Now(); }

std::shared_ptr<const StoreGallery::Version> StoreGallery::Current() const {
  std::lock_guard<std::mutex> lock(version_mutex_);
  return version_;
}

void StoreGallery::Publish(std::shared_ptr<Version> version) {
  FillInfo(*version);
  std::shared_ptr<const Version> old = std::move(version);
  std::lock_guard<std::mutex> lock(version_mutex_);
  version_.swap(old);
}

void StoreGallery::FillInfo(Version& version) const {
  const auto index_of = [&version](Modality modality) -> std::string {
    const std::shared_ptr<CoarseBase>& base = version.sides[static_cast<size_t>(modality)].base;
    return base == nullptr ? "Flat" : base->index().description();
  };
  version.info = {.name = name_,
                  .version = absl::StrCat(manifest_.lineage, "-", version.state.sequence),
                  .lineage = manifest_.lineage,
                  .model_fingerprint = manifest_.model_fingerprint,
                  .image_index = index_of(Modality::kImage),
                  .caption_index = index_of(Modality::kCaption),
                  .num_regions = manifest_.shapes[static_cast<size_t>(Modality::kImage)].positions,
                  .max_words = manifest_.shapes[static_cast<size_t>(Modality::kCaption)].positions};
}

std::shared_ptr<const GalleryView> StoreGallery::Pin() const {
  return std::make_shared<View>(this, Current());
}

absl::Status StoreGallery::CheckSizes(const EncodedItemsView& features, size_t count) const {
  const EncodedItemsView& shape = manifest_.shapes[static_cast<size_t>(features.modality)];
  bool fits = SameShape(features, shape) && features.count == static_cast<int64_t>(count) &&
              features.lengths.size() == count &&
              features.coarse.size() == count * static_cast<size_t>(shape.coarse_dim);
  for (const DirectionFeaturesView& view : features.directions) {
    const size_t width = static_cast<size_t>(view.embed_size);
    fits = fits && view.global.size() == count * width &&
           view.local.size() == count * width * static_cast<size_t>(shape.positions);
  }
  if (fits) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the features of the ", ModalityName(features.modality),
      "s do not have the sizes of gallery ", name_, ", or are not as many as the records"));
}

absl::StatusOr<std::vector<absl::Status>> StoreGallery::UpsertImages(
    absl::Span<const ImageRecord> records, const EncodedItemsView& features,
    absl::Span<const float> raw) {
  if (features.modality != Modality::kImage) {
    return absl::InvalidArgumentError("the features are not of images");
  }
  RETURN_IF_ERROR(CheckSizes(features, records.size()));
  const size_t raw_size =
      static_cast<size_t>(features.positions) * static_cast<size_t>(manifest_.raw_feature_dim);
  if (raw_size > 0 && raw.size() != records.size() * raw_size) {
    return absl::InvalidArgumentError(
        absl::StrCat("gallery ", name_, " keeps raw region features: ", records.size(),
                     " images need ", records.size() * raw_size, " numbers, got ", raw.size()));
  }
  std::vector<Pending> pending;
  std::vector<absl::Status> statuses(records.size());
  for (size_t i = 0; i < records.size(); ++i) {
    const ImageRecord& record = records[i];
    const EncodedItemsView item = features.Slice(static_cast<int64_t>(i), 1);
    const absl::Span<const float> own_raw =
        raw_size > 0 ? raw.subspan(i * raw_size, raw_size) : absl::Span<const float>();
    absl::StatusOr<ImageRecord> checked = CheckImage(record, item, own_raw);
    if (!checked.ok()) {
      statuses[i] = checked.status();
      continue;
    }
    Pending& item_pending = pending.emplace_back();
    item_pending.place = i;
    item_pending.change.modality = Modality::kImage;
    item_pending.change.id = record.id;
    item_pending.image = *std::move(checked);
    item_pending.coarse = item.coarse;
    auto& parts = item_pending.change.parts;
    parts[static_cast<size_t>(ItemStore::Part::kFeatures)] = EncodeFeatures(item, manifest_.form);
    parts[static_cast<size_t>(ItemStore::Part::kCoarse)] = EncodeFloats(item.coarse);
    if (raw_size > 0) parts[static_cast<size_t>(ItemStore::Part::kRaw)] = EncodeFloats(own_raw);
  }
  return Write(std::move(pending), std::move(statuses));
}

absl::StatusOr<std::vector<absl::Status>> StoreGallery::UpsertCaptions(
    absl::Span<const CaptionRecord> records, const EncodedItemsView& features) {
  if (features.modality != Modality::kCaption) {
    return absl::InvalidArgumentError("the features are not of captions");
  }
  RETURN_IF_ERROR(CheckSizes(features, records.size()));
  std::vector<Pending> pending;
  std::vector<absl::Status> statuses(records.size());
  for (size_t i = 0; i < records.size(); ++i) {
    const CaptionRecord& record = records[i];
    const EncodedItemsView item = features.Slice(static_cast<int64_t>(i), 1);
    absl::StatusOr<CaptionRecord> checked = CheckCaption(record, item);
    if (!checked.ok()) {
      statuses[i] = checked.status();
      continue;
    }
    Pending& item_pending = pending.emplace_back();
    item_pending.place = i;
    item_pending.change.modality = Modality::kCaption;
    item_pending.change.id = record.id;
    item_pending.caption = *std::move(checked);
    item_pending.coarse = item.coarse;
    auto& parts = item_pending.change.parts;
    parts[static_cast<size_t>(ItemStore::Part::kFeatures)] = EncodeFeatures(item, manifest_.form);
    parts[static_cast<size_t>(ItemStore::Part::kCoarse)] = EncodeFloats(item.coarse);
  }
  return Write(std::move(pending), std::move(statuses));
}

absl::StatusOr<std::vector<absl::Status>> StoreGallery::Delete(Modality modality,
                                                               absl::Span<const std::string> ids) {
  std::vector<Pending> pending;
  std::vector<absl::Status> statuses(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    Pending& removal = pending.emplace_back();
    removal.place = i;
    removal.change.modality = modality;
    removal.change.id = ids[i];
    removal.change.removal = true;
  }
  return Write(std::move(pending), std::move(statuses));
}

absl::StatusOr<std::vector<absl::Status>> StoreGallery::Write(std::vector<Pending> pending,
                                                              std::vector<absl::Status> statuses) {
  bool wants_merge = false;
  {
    std::lock_guard<std::mutex> lock(write_mutex_);
    const absl::Span<Pending> all = absl::MakeSpan(pending);
    for (size_t first = 0; first < all.size();) {
      struct statvfs room {};
      if (statvfs(directory_.c_str(), &room) == 0 &&
          uint64_t{room.f_bavail} * room.f_frsize < kSpareBytes) {
        return absl::ResourceExhaustedError(absl::StrCat("the disk of gallery ", directory_,
                                                         " is full: less than ", kSpareBytes >> 20,
                                                         " MiB are left; nothing more is written"));
      }
      size_t count = 0;
      for (int64_t bytes = 0; first + count < all.size() && (count == 0 || bytes < kMaxCommitBytes);
           ++count) {
        bytes += all[first + count].bytes();
      }
      RETURN_IF_ERROR(Commit(all.subspan(first, count), statuses));
      first += count;
    }
    const std::shared_ptr<const Version> current = Current();
    for (const Side& side : current->sides) wants_merge |= WantsMerge(side);
  }
  if (wants_merge && options_.background_merges) {
    std::lock_guard<std::mutex> lock(merge_mutex_);
    check_merges_ = true;
    merge_wanted_.notify_all();
  }
  return statuses;
}

absl::StatusOr<absl::Time> StoreGallery::CreateTimeOf(Modality modality, int64_t row) const {
  absl::Time create_time;
  const auto read = [&](size_t, absl::string_view value) -> absl::Status {
    if (modality == Modality::kImage) {
      ASSIGN_OR_RETURN(const ImageRecord record,
                       DecodeImageRecord(value, RecordParts::kWithoutPayload));
      create_time = record.create_time;
    } else {
      ASSIGN_OR_RETURN(const CaptionRecord record,
                       DecodeCaptionRecord(value, RecordParts::kWithoutPayload));
      create_time = record.create_time;
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(store_->Read(nullptr, ItemStore::Part::kRecord, modality,
                               absl::MakeConstSpan(&row, 1), read));
  return create_time;
}

absl::Status StoreGallery::Commit(absl::Span<Pending> pending,
                                  std::vector<absl::Status>& statuses) {
  const std::shared_ptr<const Version> current = Current();
  ItemStore::State state = current->state;
  const absl::Time now = Now();
  // What this commit itself has changed so far, by modality: the row of an id, absent if it went.
  struct Fresh {
    std::optional<int64_t> row;
    absl::Time create_time;
  };
  std::array<absl::flat_hash_map<std::string, Fresh>, 2> fresh;
  std::vector<ItemStore::Change> changes;
  std::vector<absl::Span<const float>> coarse;  // one for each change
  for (Pending& item : pending) {
    ItemStore::Change& change = item.change;
    const size_t m = static_cast<size_t>(change.modality);
    absl::Time create_time = now;
    if (const auto found = fresh[m].find(change.id); found != fresh[m].end()) {
      change.old_row = found->second.row;
      if (change.old_row.has_value()) create_time = found->second.create_time;
    } else {
      ASSIGN_OR_RETURN(change.old_row, store_->FindRow(nullptr, change.modality, change.id));
      if (change.old_row.has_value() && !change.removal) {
        ASSIGN_OR_RETURN(create_time, CreateTimeOf(change.modality, *change.old_row));
      }
    }
    if (change.removal && !change.old_row.has_value()) {
      statuses[item.place] = absl::NotFoundError(absl::StrCat("gallery ", name_, " has no ",
                                                              ModalityName(change.modality),
                                                              " with the id ", Quoted(change.id)));
      continue;
    }
    change.row = ++state.sequence;
    if (change.old_row.has_value()) {
      state.digests[m] -= ItemStore::DigestOf(change.id, *change.old_row);
      --state.items[m];
    }
    if (change.removal) {
      fresh[m][change.id] = {};
    } else {
      std::string record;
      if (item.image.has_value()) {
        item.image->create_time = create_time;
        item.image->update_time = now;
        record = EncodeRecord(*item.image);
      } else {
        item.caption->create_time = create_time;
        item.caption->update_time = now;
        record = EncodeRecord(*item.caption);
      }
      change.parts[static_cast<size_t>(ItemStore::Part::kRecord)] = std::move(record);
      state.digests[m] += ItemStore::DigestOf(change.id, change.row);
      ++state.items[m];
      fresh[m][change.id] = {.row = change.row, .create_time = create_time};
    }
    coarse.push_back(item.coarse);
    changes.push_back(std::move(change));
  }
  if (changes.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(store_->Write(changes, state));

  auto next = std::make_shared<Version>(*current);
  next->snapshot = store_->TakeSnapshot();
  next->state = state;
  std::array<std::shared_ptr<CoarseTail>, 2> tails;
  for (size_t m = 0; m < 2; ++m) tails[m] = std::make_shared<CoarseTail>(*current->sides[m].tail);
  for (size_t c = 0; c < changes.size(); ++c) {
    const ItemStore::Change& change = changes[c];
    const size_t m = static_cast<size_t>(change.modality);
    Side& side = next->sides[m];
    if (change.old_row.has_value()) {
      // Views of earlier versions do not see this mark.
      if (const std::optional<int64_t> in_tail = tails[m]->FindPlace(*change.old_row)) {
        tails[m]->SetEnd(*in_tail, change.row);
      } else if (side.base != nullptr) {
        if (const std::optional<int64_t> in_base = side.base->FindPlace(*change.old_row)) {
          side.base->SetEnd(*in_base, change.row);
        }
      }
      ++side.dead;
    }
    if (!change.removal) tails[m]->Append(change.row, coarse[c]);
  }
  for (size_t m = 0; m < 2; ++m) {
    next->sides[m].tail = std::move(tails[m]);
    next->sides[m].live = state.items[m];
  }
  Publish(std::move(next));
  // It may lag behind, so that a failure here loses nothing.
  mark_->Set(state.sequence).IgnoreError();
  return absl::OkStatus();
}

int64_t StoreGallery::TailLimit(const Side& side) const {
  const int64_t base = side.base == nullptr ? 0 : side.base->size();
  return std::max(options_.max_tail, base / options_.tail_divisor);
}

bool StoreGallery::WantsMerge(const Side& side) const {
  const int64_t base = side.base == nullptr ? 0 : side.base->size();
  return side.tail->size() > TailLimit(side) ||
         side.dead > std::max(options_.max_tail, (base + side.tail->size()) / 4);
}

void StoreGallery::StartMergeThread() {
  if (!options_.background_merges) return;
  {
    std::lock_guard<std::mutex> lock(merge_mutex_);
    check_merges_ = true;
  }
  merge_thread_ = std::thread([this] { RunMerges(); });
}

void StoreGallery::RunMerges() {
  while (true) {
    {
      std::unique_lock<std::mutex> lock(merge_mutex_);
      merge_wanted_.wait(
          lock, [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return stopping_ || check_merges_; });
      if (stopping_) return;
      check_merges_ = false;
    }
    for (const Modality modality : kModalities) {
      if (!WantsMerge(Current()->sides[static_cast<size_t>(modality)])) continue;
      if (const absl::Status merged = Merge(modality); !merged.ok()) {
        Warn(absl::StrCat("gallery ", directory_, ": merging the ", SideName(modality),
                          "' index failed: ", merged.message(), "; it is tried again later"));
      }
    }
  }
}

absl::Status StoreGallery::MergeNow() {
  for (const Modality modality : kModalities) RETURN_IF_ERROR(Merge(modality));
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<CoarseBase>> StoreGallery::BuildBase(Modality modality,
                                                                    std::vector<int64_t> rows,
                                                                    std::vector<float> vectors,
                                                                    int64_t sequence,
                                                                    int threads) const {
  const int dim = manifest_.shapes[static_cast<size_t>(modality)].coarse_dim;
  CoarseIndex::Options options = {.factory = manifest_.index, .threads = threads};
  if (static_cast<int64_t>(rows.size()) <= options_.max_tail) {
    options.factory = "Flat";  // a form that is meant for many may not train on few
  }
  ASSIGN_OR_RETURN(std::shared_ptr<CoarseBase> base,
                   CoarseBase::Build(std::move(rows), std::move(vectors), dim, sequence, options));
  RETURN_IF_ERROR(base->SearchElsewhere(options_.searchers));
  return base;
}

absl::Status StoreGallery::Merge(Modality modality) {
  std::lock_guard<std::mutex> building(building_mutex_);
  const size_t m = static_cast<size_t>(modality);
  const std::shared_ptr<const Version> before = Current();
  const Side& old_side = before->sides[m];
  if (old_side.tail->size() == 0 && old_side.dead == 0) return absl::OkStatus();
  {
    std::lock_guard<std::mutex> lock(merge_mutex_);
    merging_ = true;
  }
  const absl::Cleanup done = [this] {
    std::lock_guard<std::mutex> lock(merge_mutex_);
    merging_ = false;
  };
  const int64_t sequence = before->state.sequence;

  // Everything alive, and where it was: a place in the base, or -1 - a place in the tail.
  std::vector<int64_t> rows, origins;
  std::vector<float> vectors;
  const auto take = [&](int64_t row, int64_t origin, absl::Span<const float> vector) {
    rows.push_back(row);
    origins.push_back(origin);
    vectors.insert(vectors.end(), vector.begin(), vector.end());
  };
  const CoarseBase* const old_base = old_side.base.get();
  for (int64_t p = 0; old_base != nullptr && p < old_base->size(); ++p) {
    if (old_base->AliveAt(p, sequence)) take(old_base->row(p), p, old_base->vector(p));
  }
  for (int64_t p = 0; p < old_side.tail->size(); ++p) {
    if (old_side.tail->AliveAt(p, sequence)) {
      take(old_side.tail->row(p), -1 - p, old_side.tail->vector(p));
    }
  }
  // In a thread of its own: this one, which takes locks later, keeps its priority.
  const bool urgent = old_side.tail->size() > kUrgentTail * TailLimit(old_side);
  absl::StatusOr<std::shared_ptr<CoarseBase>> built = absl::UnknownError("not built");
  std::thread builder([&] {
    if (!urgent) TakeLowestPriority();
    built = BuildBase(modality, std::move(rows), std::move(vectors), sequence, /*threads=*/1);
  });
  builder.join();
  if (!built.ok()) return built.status();
  const std::shared_ptr<CoarseBase> base = *std::move(built);
  absl::Status saved;
  {
    std::lock_guard<std::mutex> lock(files_mutex_);
    saved = base->Save(base_files_[m].Name(sequence));
  }
  {
    std::lock_guard<std::mutex> lock(write_mutex_);
    const std::shared_ptr<const Version> current = Current();
    const Side& side = current->sides[m];
    // What ended while the base was being built.
    int64_t dead = 0;
    for (int64_t p = 0; p < base->size(); ++p) {
      const int64_t origin = origins[static_cast<size_t>(p)];
      const int64_t end = origin >= 0 ? old_base->EndOf(origin) : old_side.tail->EndOf(-1 - origin);
      if (end == kAlive) continue;
      base->SetEnd(p, end);
      ++dead;
    }
    // What came meanwhile.
    auto tail = std::make_shared<CoarseTail>(base->dim());
    for (int64_t p = old_side.tail->size(); p < side.tail->size(); ++p) {
      const int64_t place = tail->Append(side.tail->row(p), side.tail->vector(p));
      if (const int64_t end = side.tail->EndOf(p); end != kAlive) {
        tail->SetEnd(place, end);
        ++dead;
      }
    }
    auto next = std::make_shared<Version>(*current);
    next->sides[m] = {.base = base, .tail = std::move(tail), .live = side.live, .dead = dead};
    Publish(std::move(next));
  }
  {
    std::lock_guard<std::mutex> lock(merge_mutex_);
    ++merges_;
    last_merge_ = Now();
  }
  // Without its file the base serves all the same; opening will catch up from an older one.
  if (!saved.ok()) {
    return absl::Status(saved.code(), absl::StrCat("saving it: ", saved.message()));
  }
  std::lock_guard<std::mutex> lock(files_mutex_);
  base_files_[m].RemoveOthers(sequence);
  return absl::OkStatus();
}

absl::StatusOr<GalleryStats> StoreGallery::Stats() const {
  const std::shared_ptr<const Version> current = Current();
  GalleryStats stats;
  for (size_t m = 0; m < 2; ++m) {
    const Side& side = current->sides[m];
    stats.sides[m] = {.items = side.live,
                      .indexed = side.base == nullptr ? 0 : side.base->size(),
                      .tail = side.tail->size(),
                      .tombstones = side.dead};
  }
  stats.sequence = current->state.sequence;
  stats.bytes_on_disk = BytesBelow(directory_);
  stats.keeps_raw_features = manifest_.raw_feature_dim > 0;
  std::lock_guard<std::mutex> lock(merge_mutex_);
  stats.last_merge = last_merge_;
  stats.merges = merges_;
  stats.merging = merging_;
  return stats;
}

absl::Status StoreGallery::CreateSnapshot(const std::string& directory) const {
  std::error_code error;
  if (directory.empty()) return absl::InvalidArgumentError("the snapshot's directory has no name");
  if (std::filesystem::exists(directory, error)) {
    return absl::AlreadyExistsError(absl::StrCat(directory, " is there already"));
  }
  const std::string part = PartPath(directory);
  std::filesystem::remove_all(part, error);
  std::filesystem::create_directories(part, error);
  if (error) return FileError(error.value(), "cannot create", part);
  absl::Cleanup remove_part = [&part] {
    std::error_code ignored;
    std::filesystem::remove_all(part, ignored);
  };
  const int64_t sequence = Current()->state.sequence;
  {
    // The bases before the store, which then is never behind them.
    std::lock_guard<std::mutex> lock(files_mutex_);
    std::filesystem::directory_iterator entries(directory_, error);
    for (; !error && entries != std::filesystem::directory_iterator(); entries.increment(error)) {
      const std::string name = entries->path().filename().string();
      if (!CoarseBaseFiles::IsPart(name) && name != kSearchSettingsName) continue;
      RETURN_IF_ERROR(CopyFile(entries->path().string(), absl::StrCat(part, "/", name)));
    }
    if (error) return FileError(error.value(), "cannot read", directory_);
  }
  RETURN_IF_ERROR(store_->Checkpoint(absl::StrCat(part, "/", kStoreName)));
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<AcknowledgedMark> mark,
                     AcknowledgedMark::Open(absl::StrCat(part, "/", kMarkName)));
    RETURN_IF_ERROR(mark->Set(sequence));
  }
  RETURN_IF_ERROR(manifest_.Write(part));
  std::filesystem::rename(part, directory, error);
  if (error)
    return FileError(error.value(), absl::StrCat("cannot rename ", part, " to"), directory);
  std::move(remove_part).Cancel();
  return SyncDirectory(ParentDirectory(directory));
}

absl::StatusOr<std::vector<float>> StoreGallery::ReadRaw(const GalleryView& view,
                                                         absl::Span<const int64_t> rows) const {
  if (manifest_.raw_feature_dim == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("gallery ", name_, " keeps no raw region features"));
  }
  const auto* own = dynamic_cast<const View*>(&view);
  if (own == nullptr) return absl::InvalidArgumentError("the view is of another gallery");
  const size_t size = static_cast<size_t>(view.shape(Modality::kImage).positions) *
                      static_cast<size_t>(manifest_.raw_feature_dim);
  std::vector<float> raw(rows.size() * size);
  RETURN_IF_ERROR(store_->Read(own->snapshot(), ItemStore::Part::kRaw, Modality::kImage, rows,
                               [&](size_t i, absl::string_view value) {
                                 return DecodeFloats(value,
                                                     absl::MakeSpan(raw).subspan(i * size, size));
                               }));
  return raw;
}

}  // namespace dime
