#ifndef DIME_SERVER_WATCHED_FILE_H_
#define DIME_SERVER_WATCHED_FILE_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/time/time.h"

namespace dime {

// Tells when a file has changed since it was last read: written to, or another under its name, as
// when a mounted secret is renewed. Looks at it once in a while at most, so that it can be asked at
// every call. Not thread-safe.
class WatchedFile {
 public:
  // As the file is now counts as read.
  WatchedFile(std::string path, absl::Duration refresh);

  const std::string& path() const { return path_; }
  // Whether it has changed; true once for each change. A file that is gone has changed.
  bool Changed();

 private:
  struct Stamp {
    int64_t device = 0, inode = 0, size = -1, seconds = 0, nanoseconds = 0;
    bool operator==(const Stamp&) const = default;
  };
  static Stamp StampOf(const std::string& path);

  const std::string path_;
  const absl::Duration refresh_;
  Stamp stamp_;
  absl::Time next_look_;
};

}  // namespace dime

#endif  // DIME_SERVER_WATCHED_FILE_H_
