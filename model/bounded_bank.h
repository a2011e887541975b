#ifndef DIME_MODEL_BOUNDED_BANK_H_
#define DIME_MODEL_BOUNDED_BANK_H_

#include <condition_variable>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "index/gallery.h"
#include "model/pair_scorer.h"

namespace dime {

// Local features of a gallery that need not fit where the scorer wants them: a bank of so many
// slots, into which rows are read as they are asked for. Rows stay until their slots are needed,
// the least recently used going first; those under a lease stay put. A row names one written
// version of an item, so that what is in a slot never grows old. Thread-safe; a row that is being
// read for one caller is waited for by others. Leases must not outlive it.
class BoundedBank {
  struct Entry;

 public:
  struct Counts {
    int64_t hits = 0;    // rows that were there
    int64_t misses = 0;  // rows that had to be read
  };
  // Holds rows in their slots while it lives. Movable.
  class Lease {
   public:
    Lease(BoundedBank* owner, std::vector<Entry*> entries, std::vector<int64_t> slots)
        : owner_(owner), entries_(std::move(entries)), slots_(std::move(slots)) {}
    ~Lease() {
      if (owner_ != nullptr) owner_->Release(entries_);
    }
    Lease(Lease&& other) noexcept
        : owner_(other.owner_),
          entries_(std::move(other.entries_)),
          slots_(std::move(other.slots_)) {
      other.owner_ = nullptr;
    }
    Lease& operator=(Lease&&) = delete;

    const FeatureBank* bank() const { return owner_->bank_.get(); }
    const std::vector<int64_t>& slots() const { return slots_; }  // in the rows' order

   private:
    BoundedBank* owner_;
    std::vector<Entry*> entries_;  // as often as they were asked for; pinned, so they stay
    std::vector<int64_t> slots_;
  };

  // `bank`: a slab of `bank->count()` slots, as PairScorer::MakeSlabBank() gives it.
  explicit BoundedBank(std::unique_ptr<FeatureBank> bank);

  // Rows of `view`, of the bank's modality. RESOURCE_EXHAUSTED if they, with what is under lease,
  // are more than the slots; otherwise the errors of reading.
  absl::StatusOr<Lease> Acquire(const GalleryView& view, absl::Span<const int64_t> rows)
      ABSL_LOCKS_EXCLUDED(mutex_);
  Counts counts() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Entry {
    int64_t row = 0;
    int64_t slot = 0;
    int64_t pins = 0;
    bool ready = false;                 // its features are in the slot
    bool failed = false;                // they could not be read; it is no longer among the entries
    std::list<Entry*>::iterator place;  // once ready: in idle_ without pins, else in held_
  };
  void Release(absl::Span<Entry* const> entries) ABSL_LOCKS_EXCLUDED(mutex_);
  void Pin(Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);  // one that is ready
  void Unpin(Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // A slot for one more row; -1 if all are under lease.
  int64_t TakeSlot() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Forgets rows that could not be read.
  void Forget(absl::Span<const int64_t> rows) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::unique_ptr<FeatureBank> bank_;
  mutable std::mutex mutex_;
  std::condition_variable read_;  // some rows became ready, or were forgotten
  absl::flat_hash_map<int64_t, std::shared_ptr<Entry>> entries_ ABSL_GUARDED_BY(mutex_);  // by row
  // Of the rows that are ready, those without a lease, least recently used first, and the others.
  // Rows go from one to the other for every search: by splicing, which allocates nothing.
  std::list<Entry*> idle_ ABSL_GUARDED_BY(mutex_);
  std::list<Entry*> held_ ABSL_GUARDED_BY(mutex_);
  std::vector<int64_t> free_slots_ ABSL_GUARDED_BY(mutex_);
  int64_t unused_slots_from_ ABSL_GUARDED_BY(mutex_) = 0;  // slots from here on were never used
  Counts counts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dime

#endif  // DIME_MODEL_BOUNDED_BANK_H_
