#include "server/window_cache.h"

#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"

namespace dime {

int64_t ResultWindow::Bytes() const {
  int64_t bytes = sizeof(ResultWindow) + request_digest.size();
  for (const Hit& hit : result.hits) {
    bytes += sizeof(Hit);
    for (const std::vector<float>& paths : hit.paths) bytes += paths.capacity() * sizeof(float);
  }
  return bytes;
}

WindowCache::WindowCache(Options options) : options_(std::move(options)) {}

std::string WindowCache::Put(std::shared_ptr<const ResultWindow> window) {
  Entries dropped;  // destroyed last, without the lock
  const int64_t bytes = window->Bytes();
  std::lock_guard<std::mutex> lock(mutex_);
  const absl::Time now = options_.now();
  TakeExpired(now, dropped);
  while (!entries_.empty() && (bytes_ + bytes > options_.max_bytes ||
                               static_cast<int64_t>(entries_.size()) >= options_.max_windows)) {
    Take(entries_.begin(), dropped);
  }
  std::string name;
  for (int i = 0; i < 4; ++i) absl::StrAppend(&name, absl::Hex(random_(), absl::kZeroPad8));
  entries_.push_back(
      {.name = name, .window = std::move(window), .bytes = bytes, .expires = now + options_.ttl});
  by_name_[name] = std::prev(entries_.end());
  bytes_ += bytes;
  return name;
}

std::shared_ptr<const ResultWindow> WindowCache::Find(const std::string& name) {
  Entries dropped;
  std::lock_guard<std::mutex> lock(mutex_);
  const absl::Time now = options_.now();
  TakeExpired(now, dropped);
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return nullptr;
  found->second->expires = now + options_.ttl;
  entries_.splice(entries_.end(), entries_, found->second);
  return found->second->window;
}

void WindowCache::DropExpired() {
  Entries dropped;
  std::lock_guard<std::mutex> lock(mutex_);
  TakeExpired(options_.now(), dropped);
}

WindowCache::Size WindowCache::size() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return {.windows = static_cast<int64_t>(entries_.size()), .bytes = bytes_};
}

void WindowCache::TakeExpired(absl::Time now, Entries& dropped) {
  while (!entries_.empty() && entries_.front().expires <= now) Take(entries_.begin(), dropped);
}

void WindowCache::Take(Entries::iterator entry, Entries& dropped) {
  bytes_ -= entry->bytes;
  by_name_.erase(entry->name);
  dropped.splice(dropped.end(), entries_, entry);
}

}  // namespace dime
