#ifndef DIME_SERVER_WINDOW_CACHE_H_
#define DIME_SERVER_WINDOW_CACHE_H_

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <unordered_map>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "index/gallery.h"
#include "server/pipeline/search_types.h"

namespace dime {

// The outcome of one search, kept so that its pages can be cut from it: every hit in its final
// order, and the version of the gallery that they are rows of. Immutable.
struct ResultWindow {
  std::shared_ptr<const GalleryView> view;
  SearchResult result;
  std::string request_digest;  // of the fields that the requests for all its pages share

  int64_t Bytes() const;
};

// Keeps windows for a while, and no more of them than memory allows: the least recently used goes
// first, but never the newest, which may be larger than the bound.
// Thread-safe.
class WindowCache {
 public:
  struct Options {
    absl::Duration ttl = absl::Minutes(5);  // since the last use
    int64_t max_bytes = 64 << 20;
    // Each window keeps its version of the gallery from being cleaned up.
    int64_t max_windows = 256;
    std::function<absl::Time()> now = [] { return absl::Now(); };
  };
  struct Size {
    int64_t windows = 0;
    int64_t bytes = 0;
  };
  explicit WindowCache(Options options);

  // A name for the window that nobody can guess: 32 hexadecimal digits.
  std::string Put(std::shared_ptr<const ResultWindow> window) ABSL_LOCKS_EXCLUDED(mutex_);
  // The window of that name, which is now used; null if it is not there any more, or never was.
  std::shared_ptr<const ResultWindow> Find(const std::string& name) ABSL_LOCKS_EXCLUDED(mutex_);
  // Drops what has not been used for the ttl, as the other functions do on their way.
  void DropExpired() ABSL_LOCKS_EXCLUDED(mutex_);
  Size size() const ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Duration ttl() const { return options_.ttl; }

 private:
  struct Entry {
    std::string name;
    std::shared_ptr<const ResultWindow> window;
    int64_t bytes = 0;
    absl::Time expires;
  };
  using Entries = std::list<Entry>;

  // Moves what has expired to `dropped`, to be destroyed without the lock.
  void TakeExpired(absl::Time now, Entries& dropped) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Take(Entries::iterator entry, Entries& dropped) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  mutable std::mutex mutex_;
  Entries entries_ ABSL_GUARDED_BY(mutex_);  // by time of last use, the oldest first
  std::unordered_map<std::string, Entries::iterator> by_name_ ABSL_GUARDED_BY(mutex_);
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::random_device random_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dime

#endif  // DIME_SERVER_WINDOW_CACHE_H_
