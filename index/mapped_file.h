#ifndef DIME_INDEX_MAPPED_FILE_H_
#define DIME_INDEX_MAPPED_FILE_H_

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace dime {

// A read-only memory map of a whole file, the base of every reader of large files here.
// Pages come in as they are touched, so opening a 10 GB file costs nothing.
// Immutable, hence thread-safe. The file must not be truncated while it is mapped.
class MappedFile {
 public:
  // NOT_FOUND if there is no such file, FAILED_PRECONDITION if it is no regular file. An empty
  // file gives an empty span. Messages name the path.
  static absl::StatusOr<std::unique_ptr<MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  absl::Span<const std::byte> bytes() const { return {address_, size_}; }
  const std::string& path() const { return path_; }

 private:
  MappedFile(std::string path, const std::byte* address, size_t size)
      : path_(std::move(path)), address_(address), size_(size) {}

  const std::string path_;
  const std::byte* const address_;
  const size_t size_;
};

}  // namespace dime

#endif  // DIME_INDEX_MAPPED_FILE_H_
