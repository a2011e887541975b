#include "index/item_store.h"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/checkpoint.h>
#include <rocksdb/write_batch.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "index/status_macros.h"

namespace dime {
namespace {

// Column families: the default one holds the state, `ids` a row for each id, the others a value for
// each row. Keys begin with the modality; rows are big-endian, so that they lie in their order.
constexpr const char* kFamilyNames[] = {"default", "ids", "records", "features", "coarse", "raw"};
constexpr int kNumFamilies = 6;
constexpr int kStateFamily = 0;
constexpr int kIdsFamily = 1;
constexpr int kFirstPartFamily = 2;
constexpr char kStateKey[] = "state";
// Values from this size on lie in blob files, which compactions do not copy.
constexpr uint64_t kBlobBytes = 1024;
constexpr size_t kLargeWriteBuffer = size_t{32} << 20;
constexpr size_t kSmallWriteBuffer = size_t{8} << 20;
constexpr size_t kCacheBytes = size_t{64} << 20;
// Features that were asked for of late: read from their file they are checked each time, by a sum
// that the distribution's RocksDB takes a microsecond a kilobyte for.
constexpr size_t kFeaturesCacheBytes = size_t{32} << 20;

char ModalityKey(Modality modality) { return modality == Modality::kImage ? 'i' : 'c'; }

std::string RowValue(int64_t row) {
  std::string value;
  for (int shift = 56; shift >= 0; shift -= 8) value.push_back(static_cast<char>(row >> shift));
  return value;
}

std::string RowKey(Modality modality, int64_t row) {
  std::string key(1, ModalityKey(modality));
  key += RowValue(row);
  return key;
}

std::string IdKey(Modality modality, absl::string_view id) {
  std::string key(1, ModalityKey(modality));
  key.append(id.data(), id.size());
  return key;
}

std::optional<int64_t> ParseRow(const rocksdb::Slice& value) {
  if (value.size() != 8) return std::nullopt;
  uint64_t row = 0;
  for (size_t i = 0; i < 8; ++i) row = row << 8 | static_cast<unsigned char>(value[i]);
  return static_cast<int64_t>(row);
}

absl::string_view View(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

// Of a failed read or open.
absl::Status ToStatus(const rocksdb::Status& status, absl::string_view what) {
  if (status.ok()) return absl::OkStatus();
  const std::string message = absl::StrCat(what, ": ", status.ToString());
  if (status.IsCorruption()) return absl::DataLossError(message);
  if (status.IsNotFound()) return absl::NotFoundError(message);
  if (status.IsNoSpace()) return absl::ResourceExhaustedError(message);
  if (status.IsIOError() && status.subcode() == rocksdb::Status::kPathNotFound) {
    return absl::DataLossError(message);
  }
  // A file that is shorter than what was written into it is told in many ways.
  if (status.IsIOError() || status.IsInvalidArgument()) return absl::UnavailableError(message);
  return absl::DataLossError(message);
}

std::string SerializeState(const ItemStore::State& state) {
  const int64_t numbers[] = {state.sequence, state.items[0], state.items[1],
                             static_cast<int64_t>(state.digests[0]),
                             static_cast<int64_t>(state.digests[1])};
  return std::string(reinterpret_cast<const char*>(numbers), sizeof(numbers));
}

}  // namespace

struct ItemStore::Impl {
  ~Impl() {
    for (rocksdb::ColumnFamilyHandle* family : families) {
      if (family != nullptr) db->DestroyColumnFamilyHandle(family).PermitUncheckedError();
    }
    if (db != nullptr) db->Close().PermitUncheckedError();
  }
  rocksdb::ColumnFamilyHandle* of(Part part) const {
    return families[static_cast<size_t>(kFirstPartFamily + static_cast<int>(part))];
  }
  rocksdb::ReadOptions ReadOptionsOf(const Snapshot* snapshot) const;

  std::string directory;
  std::unique_ptr<rocksdb::DB> db;
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  std::atomic<bool> failed{false};  // a write did; see Write()
};

class ItemStore::Snapshot {
 public:
  explicit Snapshot(rocksdb::DB* db) : db_(db), snapshot_(db->GetSnapshot()) {}
  ~Snapshot() { db_->ReleaseSnapshot(snapshot_); }
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;
  const rocksdb::Snapshot* get() const { return snapshot_; }

 private:
  rocksdb::DB* const db_;
  const rocksdb::Snapshot* const snapshot_;
};

rocksdb::ReadOptions ItemStore::Impl::ReadOptionsOf(const Snapshot* snapshot) const {
  rocksdb::ReadOptions options;
  options.verify_checksums = true;
  if (snapshot != nullptr) options.snapshot = snapshot->get();
  return options;
}

ItemStore::ItemStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ItemStore::~ItemStore() = default;

uint64_t ItemStore::DigestOf(absl::string_view id, int64_t row) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : id) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  hash ^= static_cast<uint64_t>(row) * 0x9e3779b97f4a7c15;
  // The finaliser of SplitMix64, so that terms do not cancel out.
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111eb;
  return hash ^ (hash >> 31);
}

absl::StatusOr<std::unique_ptr<ItemStore>> ItemStore::Open(const std::string& directory,
                                                           bool create) {
  if (!create) {
    // RocksDB would make the directory, and call either an invalid argument.
    std::error_code error;
    if (!std::filesystem::is_directory(directory, error)) {
      return absl::NotFoundError(
          absl::StrCat("there is no store at ", directory, "; restore a snapshot"));
    }
    const std::string current = absl::StrCat(directory, "/CURRENT");
    if (!std::filesystem::exists(current, error)) {
      return absl::DataLossError(absl::StrCat(current, " is missing; restore a snapshot"));
    }
  }
  rocksdb::DBOptions options;
  options.create_if_missing = create;
  options.error_if_exists = create;
  options.create_missing_column_families = create;
  options.paranoid_checks = true;
  // A write that was cut off by a crash was not acknowledged; anything else that is wrong with the
  // log is an error. What a log that was cut off later has lost is noticed by AcknowledgedMark.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  options.track_and_verify_wals_in_manifest = true;
  options.max_open_files = -1;  // each is opened, and its size compared, at once
  options.max_background_jobs = 2;
  options.keep_log_file_num = 2;
  options.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.max_total_wal_size = uint64_t{256} << 20;
  options.allow_fallocate = false;  // a small gallery takes little room
  // Flushes and compactions give way to searches.
  options.env = rocksdb::Env::Default();
  options.env->LowerThreadPoolCPUPriority(rocksdb::Env::Priority::LOW, rocksdb::CpuPriority::kIdle);
  options.env->LowerThreadPoolCPUPriority(rocksdb::Env::Priority::HIGH, rocksdb::CpuPriority::kLow);

  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(kCacheBytes);
  table.cache_index_and_filter_blocks = false;
  table.format_version = 5;
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (int f = 0; f < kNumFamilies; ++f) {
    rocksdb::ColumnFamilyOptions family;
    family.compression = rocksdb::kNoCompression;
    const bool large = f == kFirstPartFamily + static_cast<int>(Part::kFeatures) ||
                       f == kFirstPartFamily + static_cast<int>(Part::kRaw);
    family.write_buffer_size = large ? kLargeWriteBuffer : kSmallWriteBuffer;
    if (large) {
      family.enable_blob_files = true;
      family.min_blob_size = kBlobBytes;
      family.enable_blob_garbage_collection = true;
    }
    if (f == kFirstPartFamily + static_cast<int>(Part::kFeatures)) {
      family.blob_cache = rocksdb::NewLRUCache(kFeaturesCacheBytes);
    }
    family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    descriptors.emplace_back(kFamilyNames[f], family);
  }
  auto impl = std::make_unique<Impl>();
  impl->directory = directory;
  rocksdb::DB* db = nullptr;
  const rocksdb::Status opened =
      rocksdb::DB::Open(options, directory, descriptors, &impl->families, &db);
  impl->db.reset(db);
  RETURN_IF_ERROR(ToStatus(opened, absl::StrCat("cannot open the store ", directory)));
  return std::unique_ptr<ItemStore>(new ItemStore(std::move(impl)));
}

std::shared_ptr<const ItemStore::Snapshot> ItemStore::TakeSnapshot() const {
  return std::make_shared<Snapshot>(impl_->db.get());
}

absl::StatusOr<ItemStore::State> ItemStore::ReadState(const Snapshot* snapshot) const {
  std::string value;
  const rocksdb::Status status = impl_->db->Get(impl_->ReadOptionsOf(snapshot),
                                                impl_->families[kStateFamily], kStateKey, &value);
  if (status.IsNotFound()) return State();
  RETURN_IF_ERROR(ToStatus(status, "reading the store's state"));
  int64_t numbers[5];
  if (value.size() != sizeof(numbers)) return absl::DataLossError("the store's state is damaged");
  std::memcpy(numbers, value.data(), sizeof(numbers));
  return State{.sequence = numbers[0],
               .items = {numbers[1], numbers[2]},
               .digests = {static_cast<uint64_t>(numbers[3]), static_cast<uint64_t>(numbers[4])}};
}

absl::StatusOr<std::optional<int64_t>> ItemStore::FindRow(const Snapshot* snapshot,
                                                          Modality modality,
                                                          absl::string_view id) const {
  rocksdb::PinnableSlice value;
  const rocksdb::Status status = impl_->db->Get(
      impl_->ReadOptionsOf(snapshot), impl_->families[kIdsFamily], IdKey(modality, id), &value);
  if (status.IsNotFound()) return std::optional<int64_t>();
  RETURN_IF_ERROR(ToStatus(status, absl::StrCat("looking up ", id)));
  const std::optional<int64_t> row = ParseRow(value);
  if (!row.has_value()) return absl::DataLossError(absl::StrCat("the row of ", id, " is damaged"));
  return row;
}

absl::StatusOr<std::vector<std::string>> ItemStore::ListIds(const Snapshot* snapshot,
                                                            Modality modality,
                                                            absl::string_view after,
                                                            int64_t limit) const {
  const std::unique_ptr<rocksdb::Iterator> iterator(
      impl_->db->NewIterator(impl_->ReadOptionsOf(snapshot), impl_->families[kIdsFamily]));
  std::vector<std::string> ids;
  const std::string start = IdKey(modality, after);
  for (iterator->Seek(start); iterator->Valid() && static_cast<int64_t>(ids.size()) < limit;
       iterator->Next()) {
    const absl::string_view key = View(iterator->key());
    if (key.empty() || key[0] != ModalityKey(modality)) break;
    if (key != start) ids.emplace_back(key.substr(1));
  }
  RETURN_IF_ERROR(ToStatus(iterator->status(), "listing ids"));
  return ids;
}

absl::Status ItemStore::ScanIds(
    const Snapshot* snapshot, Modality modality,
    const std::function<void(absl::string_view, int64_t)>& visit) const {
  const std::unique_ptr<rocksdb::Iterator> iterator(
      impl_->db->NewIterator(impl_->ReadOptionsOf(snapshot), impl_->families[kIdsFamily]));
  for (iterator->Seek(IdKey(modality, "")); iterator->Valid(); iterator->Next()) {
    const absl::string_view key = View(iterator->key());
    if (key.empty() || key[0] != ModalityKey(modality)) break;
    const std::optional<int64_t> row = ParseRow(iterator->value());
    if (!row.has_value()) return absl::DataLossError("an id's row is damaged");
    visit(key.substr(1), *row);
  }
  return ToStatus(iterator->status(), "reading the ids");
}

absl::Status ItemStore::Read(
    const Snapshot* snapshot, Part part, Modality modality, absl::Span<const int64_t> rows,
    absl::FunctionRef<absl::Status(size_t i, absl::string_view value)> visit) const {
  std::vector<std::string> keys;
  keys.reserve(rows.size());
  for (const int64_t row : rows) keys.push_back(RowKey(modality, row));
  std::vector<rocksdb::Slice> slices(keys.begin(), keys.end());
  std::vector<rocksdb::PinnableSlice> pinned(rows.size());
  std::vector<rocksdb::Status> statuses(rows.size());
  const rocksdb::ReadOptions options = impl_->ReadOptionsOf(snapshot);
  if (rows.size() == 1) {  // MultiGet() has more to set up
    statuses[0] = impl_->db->Get(options, impl_->of(part), slices[0], &pinned[0]);
  } else {
    impl_->db->MultiGet(options, impl_->of(part), slices.size(), slices.data(), pinned.data(),
                        statuses.data());
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    if (statuses[i].ok()) continue;
    return ToStatus(statuses[i],
                    absl::StrCat("reading the ", ModalityName(modality), " in row ", rows[i]));
  }
  for (size_t i = 0; i < rows.size(); ++i) RETURN_IF_ERROR(visit(i, View(pinned[i])));
  return absl::OkStatus();
}

absl::Status ItemStore::Scan(
    const Snapshot* snapshot, Part part, Modality modality, int64_t first, int64_t last,
    const std::function<absl::Status(int64_t, absl::string_view)>& visit) const {
  rocksdb::ReadOptions options = impl_->ReadOptionsOf(snapshot);
  options.fill_cache = false;
  const std::unique_ptr<rocksdb::Iterator> iterator(
      impl_->db->NewIterator(options, impl_->of(part)));
  for (iterator->Seek(RowKey(modality, first)); iterator->Valid(); iterator->Next()) {
    const absl::string_view key = View(iterator->key());
    if (key.size() != 9 || key[0] != ModalityKey(modality)) break;
    const int64_t row = *ParseRow(rocksdb::Slice(key.data() + 1, 8));
    if (row > last) break;
    RETURN_IF_ERROR(visit(row, View(iterator->value())));
  }
  return ToStatus(iterator->status(), "reading the store");
}

absl::Status ItemStore::Write(absl::Span<const Change> changes, const State& after) {
  if (impl_->failed) {
    return absl::UnavailableError(
        "the store takes no more writes since one failed; open the gallery again (restart the "
        "server) once the cause is mended");
  }
  rocksdb::WriteBatch batch;
  rocksdb::Status status;
  const auto then = [&status](rocksdb::Status next) {
    if (status.ok()) status = std::move(next);
  };
  for (const Change& change : changes) {
    if (change.old_row.has_value()) {
      const std::string key = RowKey(change.modality, *change.old_row);
      for (int p = 0; p < kNumParts; ++p) {
        then(batch.Delete(impl_->of(static_cast<Part>(p)), key));
      }
    }
    const std::string id_key = IdKey(change.modality, change.id);
    if (change.removal) {
      then(batch.Delete(impl_->families[kIdsFamily], id_key));
      continue;
    }
    const std::string key = RowKey(change.modality, change.row);
    for (int p = 0; p < kNumParts; ++p) {
      const std::optional<std::string>& value = change.parts[static_cast<size_t>(p)];
      if (value.has_value()) then(batch.Put(impl_->of(static_cast<Part>(p)), key, *value));
    }
    then(batch.Put(impl_->families[kIdsFamily], id_key, RowValue(change.row)));
  }
  then(batch.Put(impl_->families[kStateFamily], kStateKey, SerializeState(after)));
  rocksdb::WriteOptions options;
  options.sync = true;
  then(impl_->db->Write(options, &batch));
  if (status.ok()) return absl::OkStatus();
  impl_->failed = true;
  const std::string message =
      absl::StrCat("cannot write to the store ", impl_->directory, ": ", status.ToString(),
                   "; searches go on, writes need the gallery to be opened again");
  return status.IsNoSpace() ? absl::ResourceExhaustedError(message)
                            : absl::UnavailableError(message);
}

absl::Status ItemStore::Checkpoint(const std::string& directory) const {
  rocksdb::Checkpoint* made = nullptr;
  rocksdb::Status status = rocksdb::Checkpoint::Create(impl_->db.get(), &made);
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
  if (status.ok()) status = checkpoint->CreateCheckpoint(directory);
  return ToStatus(status, absl::StrCat("cannot copy the store to ", directory));
}

}  // namespace dime
