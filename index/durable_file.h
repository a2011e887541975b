#ifndef DIME_INDEX_DURABLE_FILE_H_
#define DIME_INDEX_DURABLE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace dime {

// How files are written so that a crash leaves the old file or the new one, never a half:
// everything goes into PartPath(path), and CommitPart() syncs it and renames it into place.
// Functions without state, hence thread-safe; two writers of one path are the caller's to avoid.

// An error for a failed file operation, e.g. "cannot open x.npy: No such file or directory". Its
// code follows from `error_number`: NOT_FOUND for ENOENT, RESOURCE_EXHAUSTED for ENOSPC and so on.
absl::Status FileError(int error_number, absl::string_view action, absl::string_view path);

// Where `path` is written until it is whole: beside it, so that a rename suffices.
std::string PartPath(absl::string_view path);

// Syncs PartPath(path), open as `descriptor`, to disk and renames it to `path`. The descriptor
// stays open and stays the caller's; on an error the .part file does as well.
absl::Status CommitPart(int descriptor, const std::string& path);

// Makes what was created in or renamed within a directory durable.
absl::Status SyncDirectory(const std::string& directory);

// The directory that holds `path`; "." if it names none.
std::string ParentDirectory(absl::string_view path);

// Writes all of `bytes` at the descriptor's position, however many system calls that takes.
// `path` is for the message.
absl::Status WriteFully(int descriptor, absl::Span<const std::byte> bytes, absl::string_view path);

// Writes a whole small file by the way above.
absl::Status WriteFileDurably(const std::string& path, absl::string_view content);

// CRC-32 as zlib and PNG have it, of `bytes` following a stretch whose CRC-32 is `previous`.
uint32_t Crc32(absl::Span<const std::byte> bytes, uint32_t previous = 0);

// The CRC-32 of two stretches one after the other, from theirs and the size of the second.
uint32_t CombineCrc32(uint32_t first, uint32_t second, uint64_t second_bytes);

inline absl::Span<const std::byte> AsBytes(absl::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
template <typename T>
absl::Span<const std::byte> AsBytes(absl::Span<const T> values) {
  return {reinterpret_cast<const std::byte*>(values.data()), values.size() * sizeof(T)};
}

}  // namespace dime

#endif  // DIME_INDEX_DURABLE_FILE_H_
