#include "index/acknowledged_mark.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "index/durable_file.h"
#include "index/status_macros.h"

namespace dime {
namespace {

// Small enough that a write of it is never seen by halves after a process was killed.
struct Mark {
  char magic[8];
  int64_t sequence;
  uint32_t crc32;  // of the above
  uint32_t reserved;
};
constexpr char kMagic[8] = {'D', 'I', 'M', 'E', 'A', 'C', 'K', '1'};

Mark MakeMark(int64_t sequence) {
  Mark mark = {.sequence = sequence};
  std::memcpy(mark.magic, kMagic, sizeof(kMagic));
  mark.crc32 =
      Crc32(absl::MakeConstSpan(reinterpret_cast<const std::byte*>(&mark), offsetof(Mark, crc32)));
  return mark;
}

}  // namespace

absl::StatusOr<std::unique_ptr<AcknowledgedMark>> AcknowledgedMark::Open(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor < 0) return FileError(errno, "cannot open", path);
  std::unique_ptr<AcknowledgedMark> mark(new AcknowledgedMark(path, descriptor));
  Mark stored;
  if (pread(descriptor, &stored, sizeof(stored), 0) == static_cast<ssize_t>(sizeof(stored))) {
    const Mark expected = MakeMark(stored.sequence);
    if (std::memcmp(&stored, &expected, sizeof(stored)) == 0) mark->found_ = stored.sequence;
  }
  return mark;
}

AcknowledgedMark::~AcknowledgedMark() { close(descriptor_); }

absl::Status AcknowledgedMark::Set(int64_t sequence) {
  const Mark mark = MakeMark(sequence);
  if (pwrite(descriptor_, &mark, sizeof(mark), 0) != static_cast<ssize_t>(sizeof(mark))) {
    return FileError(errno, "cannot write", path_);
  }
  return absl::OkStatus();
}

}  // namespace dime
