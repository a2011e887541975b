#include "index/directory_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "index/durable_file.h"

namespace dime {

absl::StatusOr<std::unique_ptr<DirectoryLock>> DirectoryLock::Take(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/LOCK");
  const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor < 0) {
    const absl::Status error = FileError(errno, "cannot open", path);
    return absl::Status(error.code(), absl::StrCat(error.message(),
                                                   "; a living gallery needs a directory that "
                                                   "this process may write to"));
  }
  std::unique_ptr<DirectoryLock> lock(new DirectoryLock(descriptor));
  if (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return FileError(errno, "cannot lock", path);
    char holder[32] = {};
    const ssize_t size = pread(descriptor, holder, sizeof(holder) - 1, 0);
    return absl::FailedPreconditionError(absl::StrCat(
        "gallery ", directory, " is open in another process",
        size > 0 ? absl::StrCat(" (", holder, ")") : "",
        "; a living gallery is served by one at a time. Stop that one, or serve a snapshot"));
  }
  const std::string holder = absl::StrCat("process ", getpid());
  if (ftruncate(descriptor, 0) != 0 ||
      pwrite(descriptor, holder.data(), holder.size(), 0) != static_cast<ssize_t>(holder.size())) {
    return FileError(errno, "cannot write", path);
  }
  return lock;
}

DirectoryLock::~DirectoryLock() { close(descriptor_); }

}  // namespace dime
