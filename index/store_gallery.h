#ifndef DIME_INDEX_STORE_GALLERY_H_
#define DIME_INDEX_STORE_GALLERY_H_

#include <array>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "index/acknowledged_mark.h"
#include "index/coarse_base_files.h"
#include "index/coarse_segment.h"
#include "index/directory_lock.h"
#include "index/filter_cache.h"
#include "index/item_codec.h"
#include "index/item_store.h"
#include "index/living_manifest.h"
#include "index/mutable_gallery.h"

namespace dime {

// A living gallery in a directory, which loses nothing that it acknowledged:
//   living_gallery.json    what no write changes (see LivingManifest)
//   store/                 the truth, in RocksDB (see ItemStore)
//   acknowledged           number of the latest acknowledged write (see AcknowledgedMark)
//   images-N.rows, images-N.faiss, captions-N...   the coarse index as of write N; derived
//   LOCK                   held while it is open
//   search_settings.json   not looked at here: see search_settings.h
// Reads see versions. A version is a snapshot of the store with the coarse index of that moment: an
// immutable base, a tail of the rows written since, which is scanned one by one, and the marks of
// rows that ended. A row's number is that of the write that made it, and a mark is the number of
// the write that ended it, so that versions share all of these and differ in their own number
// alone. When the tail or the dead rows become many, a thread of the lowest priority builds a new
// base; it takes the old one's place between two writes, and searches go on in either. At opening
// the base is loaded and caught up from the store; where it is missing or damaged it is built again
// (with a warning). That ids and rows are all there is checked against a digest that each write
// carries. Thread-safe. Views must not outlive it.
class StoreGallery : public MutableGallery {
 public:
  struct Options {
    // FAILED_PRECONDITION if the gallery was made with another model; empty accepts any.
    std::string expected_model_fingerprint;
    // A tail of more rows goes into a new base: this many, or the base's size divided by
    // tail_divisor if that is more.
    int64_t max_tail = 4096;
    int64_t tail_divisor = 16;
    bool background_merges = true;  // else MergeNow() alone merges
    // Up to so many matching rows are compared with one by one rather than searched for.
    int64_t max_scanned_matches = 8192;
    const VectorSearcherFactory* searchers = nullptr;  // null: the indexes search
    std::function<absl::Time()> clock;                 // empty: the system's
  };
  // `manifest`: all of it but the lineage, which is made up. `directory` must not be there, or be
  // empty (ALREADY_EXISTS otherwise). It is open afterwards.
  static absl::StatusOr<std::unique_ptr<StoreGallery>> Create(const std::string& directory,
                                                              LivingManifest manifest,
                                                              const Options& options);
  // NOT_FOUND if there is no living gallery; INVALID_ARGUMENT (a damaged manifest) or DATA_LOSS (a
  // damaged store, or acknowledged writes are missing), naming what; FAILED_PRECONDITION if it is
  // open elsewhere or of another model.
  static absl::StatusOr<std::unique_ptr<StoreGallery>> Open(const std::string& directory,
                                                            const Options& options);
  // Whether the directory holds a living gallery, whatever its state.
  static bool IsAt(const std::string& directory);
  ~StoreGallery() override;

  const LivingManifest& manifest() const { return manifest_; }
  const std::string& directory() const { return directory_; }

  std::shared_ptr<const GalleryView> Pin() const override ABSL_LOCKS_EXCLUDED(version_mutex_);
  absl::StatusOr<std::vector<absl::Status>> UpsertImages(absl::Span<const ImageRecord> records,
                                                         const EncodedItemsView& features,
                                                         absl::Span<const float> raw) override;
  absl::StatusOr<std::vector<absl::Status>> UpsertCaptions(
      absl::Span<const CaptionRecord> records, const EncodedItemsView& features) override;
  absl::StatusOr<std::vector<absl::Status>> Delete(Modality modality,
                                                   absl::Span<const std::string> ids) override;
  absl::StatusOr<GalleryStats> Stats() const override;
  absl::Status CreateSnapshot(const std::string& directory) const override;

  // Puts everything into new bases, in this thread; returns when they are in use and saved.
  absl::Status MergeNow();
  // Raw region features of images, (rows.size(), R, D), where they were kept. `view`: one of this
  // gallery's. FAILED_PRECONDITION if the gallery keeps none.
  absl::StatusOr<std::vector<float>> ReadRaw(const GalleryView& view,
                                             absl::Span<const int64_t> rows) const;

 private:
  // What a version knows of one modality.
  struct Side {
    std::shared_ptr<CoarseBase> base;        // null before the first merge
    std::shared_ptr<const CoarseTail> tail;  // never null
    int64_t live = 0;
    int64_t dead = 0;  // of base and tail
  };
  struct Version {
    std::shared_ptr<const ItemStore::Snapshot> snapshot;
    ItemStore::State state;
    std::array<Side, 2> sides;  // by Modality
    GalleryInfo info;
  };
  class View;
  struct Pending;  // one item of a call, on its way into the store

  StoreGallery(std::string directory, Options options, LivingManifest manifest,
               std::unique_ptr<DirectoryLock> lock);

  absl::Status Load();
  absl::Status LoadSide(Modality modality, const ItemStore::Snapshot* snapshot,
                        const ItemStore::State& state, Side& side);
  void StartMergeThread();

  absl::Status CheckSizes(const EncodedItemsView& features, size_t count) const;
  // `statuses`: those of the call's items, where those that are pending are OK.
  absl::StatusOr<std::vector<absl::Status>> Write(std::vector<Pending> pending,
                                                  std::vector<absl::Status> statuses)
      ABSL_LOCKS_EXCLUDED(write_mutex_);
  // Writes some items at once, and makes them visible.
  absl::Status Commit(absl::Span<Pending> pending, std::vector<absl::Status>& statuses)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mutex_);
  absl::StatusOr<absl::Time> CreateTimeOf(Modality modality, int64_t row) const;
  std::shared_ptr<const Version> Current() const ABSL_LOCKS_EXCLUDED(version_mutex_);
  void Publish(std::shared_ptr<Version> version) ABSL_LOCKS_EXCLUDED(version_mutex_);
  void FillInfo(Version& version) const;

  int64_t TailLimit(const Side& side) const;
  bool WantsMerge(const Side& side) const;
  void RunMerges() ABSL_LOCKS_EXCLUDED(merge_mutex_);
  // Builds a base of everything alive in the present version, and puts it in place.
  absl::Status Merge(Modality modality)
      ABSL_LOCKS_EXCLUDED(building_mutex_, files_mutex_, write_mutex_);
  absl::StatusOr<std::shared_ptr<CoarseBase>> BuildBase(Modality modality,
                                                        std::vector<int64_t> rows,
                                                        std::vector<float> vectors,
                                                        int64_t sequence, int threads) const;
  absl::Time Now() const;

  const std::string directory_;
  const Options options_;
  const LivingManifest manifest_;
  const std::string name_;
  const std::array<CoarseBaseFiles, 2> base_files_;  // by Modality
  const std::unique_ptr<DirectoryLock> lock_;        // before the store: it is the last to go
  std::unique_ptr<ItemStore> store_;
  mutable std::array<FilterCache, 2> filters_;  // by Modality

  std::mutex write_mutex_;  // held while one write is made; before version_mutex_
  std::unique_ptr<AcknowledgedMark> mark_ ABSL_GUARDED_BY(write_mutex_);

  mutable std::mutex version_mutex_;
  std::shared_ptr<const Version> version_ ABSL_GUARDED_BY(version_mutex_);

  std::mutex building_mutex_;       // held during a merge; before the others
  mutable std::mutex files_mutex_;  // held while files of bases come, go or are copied
  mutable std::mutex merge_mutex_;
  std::condition_variable merge_wanted_;
  bool stopping_ ABSL_GUARDED_BY(merge_mutex_) = false;
  bool check_merges_ ABSL_GUARDED_BY(merge_mutex_) = false;
  bool merging_ ABSL_GUARDED_BY(merge_mutex_) = false;
  int64_t merges_ ABSL_GUARDED_BY(merge_mutex_) = 0;
  absl::Time last_merge_ ABSL_GUARDED_BY(merge_mutex_) = absl::InfinitePast();
  std::thread merge_thread_;  // last: it uses all of the above
};

}  // namespace dime

#endif  // DIME_INDEX_STORE_GALLERY_H_
