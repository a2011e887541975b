#ifndef DIME_INDEX_ACKNOWLEDGED_MARK_H_
#define DIME_INDEX_ACKNOWLEDGED_MARK_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace dime {

// The number of the latest write that was acknowledged, in a small file beside the store. A log
// that was cut off looks like one whose last write was under way when the machine stopped; by this
// mark the two are told apart. It is written after the store's own sync and not synced itself: it
// may lag behind after a power failure, but is never ahead of the store. Not thread-safe.
class AcknowledgedMark {
 public:
  // Makes the file where it is not there.
  static absl::StatusOr<std::unique_ptr<AcknowledgedMark>> Open(const std::string& path);
  ~AcknowledgedMark();
  AcknowledgedMark(const AcknowledgedMark&) = delete;
  AcknowledgedMark& operator=(const AcknowledgedMark&) = delete;

  // What the file said when it was opened; absent if there was none or it was damaged.
  std::optional<int64_t> found() const { return found_; }
  absl::Status Set(int64_t sequence);

 private:
  AcknowledgedMark(std::string path, int descriptor)
      : path_(std::move(path)), descriptor_(descriptor) {}

  const std::string path_;
  const int descriptor_;
  std::optional<int64_t> found_;
};

}  // namespace dime

#endif  // DIME_INDEX_ACKNOWLEDGED_MARK_H_
