#include "index/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "index/durable_file.h"

namespace dime {

absl::StatusOr<std::unique_ptr<MappedFile>> MappedFile::Open(const std::string& path) {
  // Non-blocking, so that a FIFO is refused below rather than waited for.
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return FileError(errno, "cannot open", path);
  // The map stays after its descriptor is closed.
  absl::Cleanup close_descriptor = [descriptor] { close(descriptor); };

  struct stat status;
  if (fstat(descriptor, &status) != 0) return FileError(errno, "cannot inspect", path);
  if (!S_ISREG(status.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(path, " is not a regular file"));
  }
  const size_t size = static_cast<size_t>(status.st_size);
  if (size == 0) return std::unique_ptr<MappedFile>(new MappedFile(path, nullptr, 0));
  void* address = mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0);
  if (address == MAP_FAILED) return FileError(errno, "cannot map", path);
  return std::unique_ptr<MappedFile>(
      new MappedFile(path, static_cast<const std::byte*>(address), size));
}

MappedFile::~MappedFile() {
  if (address_ != nullptr) munmap(const_cast<std::byte*>(address_), size_);
}

}  // namespace dime
