#include "model/bounded_bank.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace dime {

BoundedBank::BoundedBank(std::unique_ptr<FeatureBank> bank) : bank_(std::move(bank)) {}

BoundedBank::Counts BoundedBank::counts() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return counts_;
}

int64_t BoundedBank::TakeSlot(int64_t row) {
  const auto find = [this]() -> int64_t {
    if (!free_slots_.empty()) {
      const int64_t slot = free_slots_.back();
      free_slots_.pop_back();
      return slot;
    }
    const auto used = static_cast<int64_t>(slots_.size());
    if (used < bank_->count()) {
      slots_.emplace_back();
      return used;
    }
    if (pinned_slots_ == used) return -1;
    while (true) {  // in its second round it meets none used again
      const int64_t at = hand_;
      hand_ = at + 1 < used ? at + 1 : 0;
      Slot& slot = slots_[at];
      if (slot.pins > 0 || std::exchange(slot.used_again, false)) continue;
      slot_of_.erase(slot.row);
      return at;
    }
  };
  const int64_t found = find();
  if (found < 0) return found;
  slots_[found] = {.row = row};
  Pin(found);
  slot_of_[row] = found;
  return found;
}

void BoundedBank::Pin(int64_t slot) {
  if (slots_[slot].pins++ == 0) ++pinned_slots_;
}

void BoundedBank::Unpin(int64_t slot) {
  if (--slots_[slot].pins > 0) return;
  --pinned_slots_;
  if (slots_[slot].state == State::kFailed) free_slots_.push_back(slot);
}

void BoundedBank::Release(absl::Span<const int64_t> slots) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (const int64_t slot : slots) Unpin(slot);
}

void BoundedBank::GiveUp(absl::Span<const int64_t> slots, absl::Span<const int64_t> failed) {
  for (const int64_t slot : failed) {
    slots_[slot].state = State::kFailed;
    slot_of_.erase(slots_[slot].row);
  }
  read_.notify_all();
  for (const int64_t slot : slots) Unpin(slot);
}

absl::StatusOr<BoundedBank::Lease> BoundedBank::Acquire(const GalleryView& view,
                                                        absl::Span<const int64_t> rows) {
  std::vector<int64_t> missing, missing_slots;  // that this call reads
  std::vector<int64_t> waits;  // for what another call reads, or this one for another place
  std::vector<int64_t> slots;  // pinned, in the rows' order
  slots.reserve(rows.size());
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (const int64_t row : rows) {
      const auto found = slot_of_.find(row);
      if (found != slot_of_.end()) {
        Slot& slot = slots_[found->second];
        Pin(found->second);
        slot.used_again = true;
        slots.push_back(found->second);
        if (slot.state == State::kReady) {
          ++counts_.hits;
        } else {
          ++counts_.misses;
          waits.push_back(found->second);
        }
        continue;
      }
      ++counts_.misses;
      const int64_t slot = TakeSlot(row);
      if (slot < 0) {
        GiveUp(slots, missing_slots);
        return absl::ResourceExhaustedError(
            absl::StrCat("the bank's ", bank_->count(), " slots are all in use"));
      }
      slots.push_back(slot);
      missing.push_back(row);
      missing_slots.push_back(slot);
    }
  }
  absl::Status status;
  if (!missing.empty()) {
    const absl::StatusOr<EncodedItems> items = view.ReadFeatures(bank_->modality(), missing);
    status = items.ok() ? bank_->Write(missing_slots, items->view()) : items.status();
  }
  if (missing.empty() && waits.empty()) return Lease(this, std::move(slots));
  std::unique_lock<std::mutex> lock(mutex_);
  if (!status.ok()) {
    GiveUp(slots, missing_slots);
    return status;
  }
  for (const int64_t slot : missing_slots) slots_[slot].state = State::kReady;
  if (!missing.empty()) read_.notify_all();
  // After this call's own rows are there, so that two calls do not wait for one another.
  for (const int64_t slot : waits) {
    read_.wait(lock, [this, slot] { return slots_[slot].state != State::kBeingRead; });
    if (slots_[slot].state == State::kReady) continue;
    GiveUp(slots, {});
    return absl::UnavailableError("features that another search was reading did not come");
  }
  return Lease(this, std::move(slots));
}

}  // namespace dime
