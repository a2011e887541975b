#ifndef DIME_MODEL_BOUNDED_BANK_H_
#define DIME_MODEL_BOUNDED_BANK_H_

#include <condition_variable>
#include <cstdint>
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
// which are taken in turn but for those used again since the last round ("clock"); those under a
// lease stay put. A row names one written version of an item, so that what is in a slot never grows
// old. Thread-safe; a row that is being read for one caller is waited for by others. Leases must
// not outlive it.
class BoundedBank {
 public:
  struct Counts {
    int64_t hits = 0;    // rows that were there
    int64_t misses = 0;  // rows that had to be read
  };
  // Holds rows in their slots while it lives. Movable.
  class Lease {
   public:
    Lease(BoundedBank* owner, std::vector<int64_t> slots)
        : owner_(owner), slots_(std::move(slots)) {}
    ~Lease() {
      if (owner_ != nullptr) owner_->Release(slots_);
    }
    Lease(Lease&& other) noexcept : owner_(other.owner_), slots_(std::move(other.slots_)) {
      other.owner_ = nullptr;
    }
    Lease& operator=(Lease&&) = delete;

    const FeatureBank* bank() const { return owner_->bank_.get(); }
    const std::vector<int64_t>& slots() const { return slots_; }  // in the rows' order

   private:
    BoundedBank* owner_;
    std::vector<int64_t> slots_;  // pinned as often as they are named
  };

  // `bank`: a slab of `bank->count()` slots, as PairScorer::MakeSlabBank() gives it.
  explicit BoundedBank(std::unique_ptr<FeatureBank> bank);

  // Rows of `view`, of the bank's modality. RESOURCE_EXHAUSTED if they, with what is under lease,
  // are more than the slots; otherwise the errors of reading.
  absl::StatusOr<Lease> Acquire(const GalleryView& view, absl::Span<const int64_t> rows)
      ABSL_LOCKS_EXCLUDED(mutex_);
  Counts counts() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  enum class State { kBeingRead, kReady, kFailed };
  struct Slot {
    int64_t row = 0;
    int32_t pins = 0;  // leases and calls that count on it; with one it is not taken
    State state = State::kBeingRead;
    bool used_again = false;  // since it was filled or passed by
  };
  void Release(absl::Span<const int64_t> slots) ABSL_LOCKS_EXCLUDED(mutex_);
  void Pin(int64_t slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Unpin(int64_t slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // A slot for `row`, pinned once; -1 if all are under lease.
  int64_t TakeSlot(int64_t row) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Unpins a call's slots, of which some could not be filled.
  void GiveUp(absl::Span<const int64_t> slots, absl::Span<const int64_t> failed)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::unique_ptr<FeatureBank> bank_;
  mutable std::mutex mutex_;
  std::condition_variable read_;  // some slots' states changed
  absl::flat_hash_map<int64_t, int64_t> slot_of_ ABSL_GUARDED_BY(mutex_);  // by row, but of failed
  std::vector<Slot> slots_ ABSL_GUARDED_BY(mutex_);                        // those used so far
  std::vector<int64_t> free_slots_ ABSL_GUARDED_BY(mutex_);                // of rows that failed
  int64_t pinned_slots_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t hand_ ABSL_GUARDED_BY(mutex_) = 0;  // the slot to look at next
  Counts counts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dime

#endif  // DIME_MODEL_BOUNDED_BANK_H_
