#ifndef DIME_CLIENT_SNAPSHOT_COPY_H_
#define DIME_CLIENT_SNAPSHOT_COPY_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"

namespace dime {

// What a copy came to.
struct SnapshotCopy {
  int64_t files = 0;
  int64_t bytes = 0;
};

// Copies a snapshot, which is a gallery's directory, to `target`, where a server can then write to
// it while the snapshot stays as it is. The target appears under its name when it is whole and on
// disk (it is written beside it as NAME.part). ALREADY_EXISTS if there is anything at `target` but
// an empty directory; NOT_FOUND if there is no snapshot; INVALID_ARGUMENT if `snapshot` is none.
// `on_bytes` is called with the bytes of each piece that was copied; `total` is known before.
absl::StatusOr<SnapshotCopy> CopySnapshot(
    const std::string& snapshot, const std::string& target,
    const std::function<void(int64_t bytes, int64_t total)>& on_bytes = nullptr);

}  // namespace dime

#endif  // DIME_CLIENT_SNAPSHOT_COPY_H_
