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

int64_t BoundedBank::TakeSlot() {
  if (!free_slots_.empty()) {
    const int64_t slot = free_slots_.back();
    free_slots_.pop_back();
    return slot;
  }
  if (unused_slots_from_ < bank_->count()) return unused_slots_from_++;
  if (idle_.empty()) return -1;
  const Entry& oldest = *idle_.front();
  idle_.pop_front();
  const int64_t row = oldest.row, slot = oldest.slot;
  entries_.erase(row);
  return slot;
}

void BoundedBank::Pin(Entry& entry) {
  if (entry.pins++ == 0) held_.splice(held_.end(), idle_, entry.place);
}

void BoundedBank::Unpin(Entry& entry) {
  if (--entry.pins == 0) idle_.splice(idle_.end(), held_, entry.place);
}

void BoundedBank::Release(absl::Span<Entry* const> entries) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (Entry* entry : entries) Unpin(*entry);
}

void BoundedBank::Forget(absl::Span<const int64_t> rows) {
  for (const int64_t row : rows) {
    const auto found = entries_.find(row);
    found->second->failed = true;
    free_slots_.push_back(found->second->slot);
    entries_.erase(found);
  }
  read_.notify_all();
}

absl::StatusOr<BoundedBank::Lease> BoundedBank::Acquire(const GalleryView& view,
                                                        absl::Span<const int64_t> rows) {
  std::vector<int64_t> missing, missing_slots;  // that this call reads
  std::vector<std::shared_ptr<Entry>>
      waits;                   // for rows that another call reads, or this one for another place
  std::vector<Entry*> pinned;  // of rows that are ready, once for each time asked
  pinned.reserve(rows.size());
  std::vector<int64_t> slots(rows.size());
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto found = entries_.find(rows[i]);
      if (found != entries_.end() && found->second->ready) {
        Entry& entry = *found->second;
        Pin(entry);
        slots[i] = entry.slot;
        pinned.push_back(&entry);
        ++counts_.hits;
        continue;
      }
      ++counts_.misses;
      if (found != entries_.end()) {
        ++found->second->pins;  // from now on, so that it stays once it is ready
        slots[i] = found->second->slot;
        waits.push_back(found->second);
        continue;
      }
      const int64_t slot = TakeSlot();
      if (slot < 0) {
        for (const std::shared_ptr<Entry>& entry : waits) --entry->pins;
        Forget(missing);
        for (Entry* entry : pinned) Unpin(*entry);
        return absl::ResourceExhaustedError(
            absl::StrCat("the bank's ", bank_->count(), " slots are all in use"));
      }
      auto entry = std::make_shared<Entry>();
      entry->row = rows[i];
      entry->slot = slot;
      entries_[rows[i]] = std::move(entry);
      slots[i] = slot;
      missing.push_back(rows[i]);
      missing_slots.push_back(slot);
    }
  }
  absl::Status status;
  if (!missing.empty()) {
    const absl::StatusOr<EncodedItems> items = view.ReadFeatures(bank_->modality(), missing);
    status = items.ok() ? bank_->Write(missing_slots, items->view()) : items.status();
  }
  std::unique_lock<std::mutex> lock(mutex_);
  if (status.ok()) {
    for (const int64_t row : missing) {
      Entry& entry = *entries_.at(row);
      entry.ready = true;
      ++entry.pins;  // those that wait have theirs
      entry.place = held_.insert(held_.end(), &entry);
      pinned.push_back(&entry);
    }
    read_.notify_all();
  } else {
    Forget(missing);
  }
  // After this call's own rows are there, so that two calls do not wait for one another.
  for (const std::shared_ptr<Entry>& entry : waits) {
    read_.wait(lock, [&entry] { return entry->ready || entry->failed; });
    if (entry->ready) {
      pinned.push_back(entry.get());
    } else {
      status.Update(
          absl::UnavailableError("features that another search was reading did not come"));
    }
  }
  if (!status.ok()) {
    for (Entry* entry : pinned) Unpin(*entry);
    return status;
  }
  return Lease(this, std::move(pinned), std::move(slots));
}

}  // namespace dime
