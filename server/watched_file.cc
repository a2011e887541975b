#include "server/watched_file.h"

#include <sys/stat.h>

#include "absl/time/clock.h"

namespace dime {

WatchedFile::WatchedFile(std::string path, absl::Duration refresh)
    : path_(std::move(path)),
      refresh_(refresh),
      stamp_(StampOf(path_)),
      next_look_(absl::Now() + refresh_) {}

bool WatchedFile::Changed() {
  const absl::Time now = absl::Now();
  if (now < next_look_) return false;
  next_look_ = now + refresh_;
  const Stamp stamp = StampOf(path_);
  return std::exchange(stamp_, stamp) != stamp;
}

WatchedFile::Stamp WatchedFile::StampOf(const std::string& path) {
  struct stat file;
  if (stat(path.c_str(), &file) != 0) return {};
  return {.device = static_cast<int64_t>(file.st_dev),
          .inode = static_cast<int64_t>(file.st_ino),
          .size = file.st_size,
          .seconds = file.st_mtim.tv_sec,
          .nanoseconds = file.st_mtim.tv_nsec};
}

}  // namespace dime
