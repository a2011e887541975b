#include "index/durable_file.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cstdio>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "index/status_macros.h"

namespace dime {

absl::Status FileError(int error_number, absl::string_view action, absl::string_view path) {
  return absl::ErrnoToStatus(error_number, absl::StrCat(action, " ", path));
}

std::string PartPath(absl::string_view path) { return absl::StrCat(path, ".part"); }

std::string ParentDirectory(absl::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash == absl::string_view::npos) return ".";
  return slash == 0 ? "/" : std::string(path.substr(0, slash));
}

absl::Status SyncDirectory(const std::string& directory) {
  const int descriptor = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return FileError(errno, "cannot open", directory);
  absl::Cleanup close_descriptor = [descriptor] { close(descriptor); };
  // Some file systems know no sync of directories; that is no failure of ours.
  if (fsync(descriptor) != 0 && errno != EINVAL) return FileError(errno, "cannot sync", directory);
  return absl::OkStatus();
}

absl::Status CommitPart(int descriptor, const std::string& path) {
  const std::string part = PartPath(path);
  if (fsync(descriptor) != 0) return FileError(errno, "cannot sync", part);
  if (std::rename(part.c_str(), path.c_str()) != 0) {
    return FileError(errno, absl::StrCat("cannot rename ", part, " to"), path);
  }
  return SyncDirectory(ParentDirectory(path));
}

absl::Status WriteFully(int descriptor, absl::Span<const std::byte> bytes, absl::string_view path) {
  while (!bytes.empty()) {
    const ssize_t written = write(descriptor, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return FileError(errno, "cannot write", path);
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status WriteFileDurably(const std::string& path, absl::string_view content) {
  const std::string part = PartPath(path);
  const int descriptor = open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor < 0) return FileError(errno, "cannot create", part);
  absl::Cleanup close_descriptor = [descriptor] { close(descriptor); };
  absl::Status status = WriteFully(descriptor, AsBytes(content), part);
  if (status.ok()) status = CommitPart(descriptor, path);
  if (!status.ok()) unlink(part.c_str());
  return status;
}

uint32_t Crc32(absl::Span<const std::byte> bytes, uint32_t previous) {
  if (bytes.empty()) return previous;  // zlib would start anew at a null pointer
  return static_cast<uint32_t>(
      crc32_z(previous, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

uint32_t CombineCrc32(uint32_t first, uint32_t second, uint64_t second_bytes) {
  return static_cast<uint32_t>(crc32_combine(first, second, static_cast<z_off_t>(second_bytes)));
}

}  // namespace dime
