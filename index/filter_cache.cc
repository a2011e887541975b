#include "index/filter_cache.h"

#include <algorithm>
#include <utility>

#include "index/status_macros.h"

namespace dime {

absl::StatusOr<std::shared_ptr<const RowBitmap>> FilterCache::Matching(const ItemFilter& filter,
                                                                       int64_t sequence,
                                                                       const RowsFrom& rows_from,
                                                                       const Evaluate& evaluate) {
  Entry entry = Find(filter.canonical());
  if (sequence == entry.through) return entry.matching;
  std::vector<int64_t> unknown = rows_from(sequence > entry.through ? entry.through + 1 : 0);
  unknown.erase(std::remove_if(unknown.begin(), unknown.end(),
                               [&](int64_t row) { return entry.looked_at->Contains(row); }),
                unknown.end());
  entry.through = std::max(entry.through, sequence);
  if (unknown.empty()) {
    std::shared_ptr<const RowBitmap> matching = entry.matching;
    Put(std::move(entry));
    return matching;
  }
  ASSIGN_OR_RETURN(const std::vector<int64_t> found, evaluate(unknown));
  // Copies, for others may be reading the ones that are there.
  auto looked_at = std::make_shared<RowBitmap>(*entry.looked_at);
  auto matching = std::make_shared<RowBitmap>(*entry.matching);
  for (const int64_t row : unknown) looked_at->Add(row);
  for (const int64_t row : found) matching->Add(row);
  entry.looked_at = std::move(looked_at);
  entry.matching = matching;
  Put(std::move(entry));
  return std::shared_ptr<const RowBitmap>(std::move(matching));
}

FilterCache::Entry FilterCache::Find(const std::string& canonical) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found =
      std::find_if(entries_.begin(), entries_.end(),
                   [&canonical](const Entry& entry) { return entry.canonical == canonical; });
  if (found == entries_.end()) return Entry{.canonical = canonical};
  entries_.splice(entries_.begin(), entries_, found);
  return entries_.front();
}

void FilterCache::Put(Entry entry) {
  std::lock_guard<std::mutex> lock(mutex_);
  entries_.remove_if([&entry](const Entry& other) { return other.canonical == entry.canonical; });
  entries_.push_front(std::move(entry));
  if (entries_.size() > max_filters_) entries_.pop_back();
}

}  // namespace dime
