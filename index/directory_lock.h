#ifndef DIME_INDEX_DIRECTORY_LOCK_H_
#define DIME_INDEX_DIRECTORY_LOCK_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace dime {

// Holds a directory for one process, and within it for one holder, by a lock on the file LOCK,
// which the system drops when the process ends however it ends. Immutable, hence thread-safe.
class DirectoryLock {
 public:
  // FAILED_PRECONDITION, naming the process, if another holds it; the file system's error if the
  // directory cannot be written to.
  static absl::StatusOr<std::unique_ptr<DirectoryLock>> Take(const std::string& directory);
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  explicit DirectoryLock(int descriptor) : descriptor_(descriptor) {}
  const int descriptor_;
};

}  // namespace dime

#endif  // DIME_INDEX_DIRECTORY_LOCK_H_
