#ifndef DIME_INDEX_ITEM_STORE_H_
#define DIME_INDEX_ITEM_STORE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "index/features.h"

namespace dime {

// The truth of a living gallery: ids, records, features and coarse embeddings by row, in RocksDB,
// which is seen in the .cc alone. What is written is synced before the call returns. Bytes are the
// caller's (see item_codec.h); checksums are RocksDB's, and are looked at on every read.
// Thread-safe, save that writes are the caller's to put in order. Snapshots must not outlive it.
class ItemStore {
 public:
  // What is kept of a row.
  enum class Part { kRecord, kFeatures, kCoarse, kRaw };
  static constexpr int kNumParts = 4;

  // Where all of a gallery's writes have led to: part of each write, so that it always tells of
  // what is in the store. The digests are sums over the ids and rows that are there, by which loss
  // is noticed at opening.
  struct State {
    int64_t sequence = 0;  // number of the latest write, which is the row if it wrote an item
    std::array<int64_t, 2> items{};     // by Modality
    std::array<uint64_t, 2> digests{};  // by Modality
    bool operator==(const State&) const = default;
  };
  // A term of a digest.
  static uint64_t DigestOf(absl::string_view id, int64_t row);

  // One item written, or removed where there are no parts.
  struct Change {
    Modality modality = Modality::kImage;
    std::string id;
    int64_t row = 0;                 // of the new version; unused by a removal
    std::optional<int64_t> old_row;  // of the version that goes
    std::array<std::optional<std::string>, kNumParts> parts;  // by Part; record must be there
    bool removal = false;
  };

  // One state of the store, which reads see whatever is written since.
  class Snapshot;

  // `create`: makes the directory; else NOT_FOUND, DATA_LOSS (damaged: names what), or what the
  // file system says. Not opened by two at a time: the caller holds a lock.
  static absl::StatusOr<std::unique_ptr<ItemStore>> Open(const std::string& directory, bool create);
  ~ItemStore();

  std::shared_ptr<const Snapshot> TakeSnapshot() const;

  // Reads see `snapshot`, or the latest state where it is null.
  absl::StatusOr<State> ReadState(const Snapshot* snapshot) const;
  absl::StatusOr<std::optional<int64_t>> FindRow(const Snapshot* snapshot, Modality modality,
                                                 absl::string_view id) const;
  absl::StatusOr<std::vector<std::string>> ListIds(const Snapshot* snapshot, Modality modality,
                                                   absl::string_view after, int64_t limit) const;
  // Calls `visit` for each id, ascending.
  absl::Status ScanIds(const Snapshot* snapshot, Modality modality,
                       const std::function<void(absl::string_view id, int64_t row)>& visit) const;
  // Calls `visit` with each value where it lies, in the order of `rows`; its error ends the
  // reading. NOT_FOUND, before any is visited, if one is not there, DATA_LOSS for a damaged one.
  absl::Status Read(const Snapshot* snapshot, Part part, Modality modality,
                    absl::Span<const int64_t> rows,
                    absl::FunctionRef<absl::Status(size_t i, absl::string_view value)> visit) const;
  // Calls `visit` for each row from `first` to `last`, ascending; its error ends the scan.
  absl::Status Scan(
      const Snapshot* snapshot, Part part, Modality modality, int64_t first, int64_t last,
      const std::function<absl::Status(int64_t row, absl::string_view value)>& visit) const;

  // All changes at once, in order, and the state after them; durable on return. After an error the
  // store takes no more writes until it is opened again, for nobody knows what reached the disk.
  // RESOURCE_EXHAUSTED for a full disk, else UNAVAILABLE.
  absl::Status Write(absl::Span<const Change> changes, const State& after);

  // A copy of the present state, by links where the file system has them, in a directory that is
  // not there yet.
  absl::Status Checkpoint(const std::string& directory) const;

 private:
  struct Impl;
  explicit ItemStore(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace dime

#endif  // DIME_INDEX_ITEM_STORE_H_
