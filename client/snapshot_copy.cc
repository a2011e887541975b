#include "client/snapshot_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "index/durable_file.h"
#include "index/status_macros.h"

namespace dime {
namespace {

namespace fs = std::filesystem;

// One of these is in the directory of every gallery.
constexpr const char* kManifests[] = {"living_gallery.json", "gallery.json"};

absl::Status CopyFile(const fs::path& from, const fs::path& to,
                      const std::function<void(int64_t)>& on_bytes) {
  const int source = open(from.c_str(), O_RDONLY | O_CLOEXEC);
  if (source < 0) return FileError(errno, "cannot open", from.string());
  const absl::Cleanup close_source = [source] { close(source); };
  const int target = open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (target < 0) return FileError(errno, "cannot create", to.string());
  const absl::Cleanup close_target = [target] { close(target); };
  std::vector<char> buffer(1 << 20);
  while (true) {
    const ssize_t n = read(source, buffer.data(), buffer.size());
    if (n < 0) return FileError(errno, "cannot read", from.string());
    if (n == 0) break;
    RETURN_IF_ERROR(
        WriteFully(target, AsBytes(absl::MakeConstSpan(buffer).subspan(0, n)), to.string()));
    on_bytes(n);
  }
  if (fsync(target) != 0) return FileError(errno, "cannot sync", to.string());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SnapshotCopy> CopySnapshot(
    const std::string& snapshot, const std::string& target,
    const std::function<void(int64_t bytes, int64_t total)>& on_bytes) {
  std::error_code error;
  if (!fs::is_directory(snapshot, error)) {
    return absl::NotFoundError(absl::StrCat(snapshot, ": there is no such directory"));
  }
  bool is_gallery = false;
  for (const char* manifest : kManifests) {
    is_gallery = is_gallery || fs::exists(fs::path(snapshot) / manifest, error);
  }
  if (!is_gallery) {
    return absl::InvalidArgumentError(absl::StrCat(snapshot, " is no gallery's directory"));
  }
  fs::path to(target);
  if (!to.has_filename()) to = to.parent_path();
  if (fs::exists(to, error) && !(fs::is_directory(to, error) && fs::is_empty(to, error))) {
    return absl::AlreadyExistsError(
        absl::StrCat(target, " is there already; name a directory that is not"));
  }

  SnapshotCopy copy;
  std::vector<fs::path> directories, files;
  int64_t total = 0;
  for (auto entry = fs::recursive_directory_iterator(snapshot, error);
       !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    const fs::path relative = fs::relative(entry->path(), snapshot, error);
    if (entry->is_directory()) {
      directories.push_back(relative);
    } else if (entry->is_regular_file()) {
      files.push_back(relative);
      total += static_cast<int64_t>(entry->file_size());
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat(entry->path().string(), " is neither a file nor a directory"));
    }
  }
  if (error) return FileError(error.value(), "cannot read the directory", snapshot);

  const fs::path part = PartPath(to.string());
  fs::remove_all(part, error);  // of a copy that was interrupted
  absl::Cleanup remove_part = [&part] {
    std::error_code ignored;
    fs::remove_all(part, ignored);
  };
  fs::create_directories(part, error);
  for (const fs::path& directory : directories) {
    if (!error) fs::create_directories(part / directory, error);
  }
  if (error) return FileError(error.value(), "cannot make directories in", part.string());
  for (const fs::path& file : files) {
    RETURN_IF_ERROR(CopyFile(fs::path(snapshot) / file, part / file, [&](int64_t bytes) {
      copy.bytes += bytes;
      if (on_bytes) on_bytes(bytes, total);
    }));
    ++copy.files;
  }
  for (const fs::path& directory : directories) {
    RETURN_IF_ERROR(SyncDirectory((part / directory).string()));
  }
  RETURN_IF_ERROR(SyncDirectory(part.string()));
  fs::remove(to, error);  // an empty directory
  fs::rename(part, to, error);
  if (error) return FileError(error.value(), "cannot rename to", to.string());
  std::move(remove_part).Cancel();
  RETURN_IF_ERROR(SyncDirectory(ParentDirectory(to.string())));
  return copy;
}

}  // namespace dime
