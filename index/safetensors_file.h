#ifndef DIME_INDEX_SAFETENSORS_FILE_H_
#define DIME_INDEX_SAFETENSORS_FILE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "index/mapped_file.h"

namespace dime {

// Element types of the safetensors format that this project reads.
enum class TensorType { kFloat16, kBFloat16, kFloat32, kFloat64, kInt32, kInt64, kUint8, kBool };

// The format's own name ("F32", "BF16", ...), and the bytes of one element.
absl::string_view TensorTypeName(TensorType type);
size_t TensorTypeBytes(TensorType type);

// One tensor of a SafetensorsFile: row-major, little-endian, in the file's memory map.
struct TensorView {
  TensorType type;
  std::vector<int64_t> shape;
  absl::Span<const std::byte> bytes;  // may be unaligned for its type: copy, do not cast

  int64_t elements() const;
  // The elements as float32, converted from any of the float types.
  // INVALID_ARGUMENT for integer types.
  absl::StatusOr<std::vector<float>> ToFloats() const;
};

// A safetensors file read through a memory map. The header is checked whole on opening: JSON form,
// known types, shapes that match their byte ranges, ranges inside the file that neither overlap nor
// leave gaps. A truncated or hostile file gives an error, never a crash.
// Immutable, hence thread-safe. Views live as long as this object.
class SafetensorsFile {
 public:
  // INVALID_ARGUMENT for a malformed file; the message names the path, the tensor and the reason.
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(const std::string& path);

  const std::string& path() const { return file_->path(); }
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  // The free text fields of "__metadata__".
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  // NOT_FOUND, naming file and tensor, if it is absent; `Find` gives null instead.
  absl::StatusOr<TensorView> Get(absl::string_view name) const;
  const TensorView* Find(absl::string_view name) const;
  // A float32 tensor in place: INVALID_ARGUMENT if the type, the shape or the alignment differs.
  absl::StatusOr<absl::Span<const float>> Floats(absl::string_view name,
                                                 absl::Span<const int64_t> shape) const;

 private:
  SafetensorsFile(std::unique_ptr<MappedFile> file, std::map<std::string, TensorView> tensors,
                  std::map<std::string, std::string> metadata)
      : file_(std::move(file)), tensors_(std::move(tensors)), metadata_(std::move(metadata)) {}

  const std::unique_ptr<MappedFile> file_;
  const std::map<std::string, TensorView> tensors_;
  const std::map<std::string, std::string> metadata_;
};

// Writes a safetensors file in one pass while its tensors' bytes arrive in pieces: all names, types
// and shapes are declared first, then each tensor's bytes are appended in the declared order. The
// payload starts 64-byte aligned, and every tensor must come out aligned for its type: larger types
// are to be declared first. The file appears under its name on Finish() (written beside it as
// NAME.part, synced, renamed). Not thread-safe.
class SafetensorsWriter {
 public:
  struct Declaration {
    std::string name;
    TensorType type;
    std::vector<int64_t> shape;
  };
  // INVALID_ARGUMENT for a repeated name, a shape that is too large, or a misaligned tensor.
  static absl::StatusOr<std::unique_ptr<SafetensorsWriter>> Create(
      const std::string& path, std::vector<Declaration> declarations,
      const std::map<std::string, std::string>& metadata = {});
  ~SafetensorsWriter();  // removes the .part file if Finish() was not reached

  // Bytes for tensor `name`. Tensors may be filled in any order and in pieces, each from its start:
  // the writer keeps a position for each. INVALID_ARGUMENT for more bytes than declared.
  absl::Status Append(absl::string_view name, absl::Span<const std::byte> bytes);
  // The same for a float32 tensor; INVALID_ARGUMENT if it was declared as another type.
  absl::Status AppendFloats(absl::string_view name, absl::Span<const float> values);
  // FAILED_PRECONDITION, naming them, if tensors are not filled whole.
  absl::Status Finish();

 private:
  struct Slot {
    TensorType type;
    uint64_t offset;   // bytes from the start of the file
    uint64_t size;     // bytes
    uint64_t written;  // bytes
  };
  SafetensorsWriter(std::string path, int descriptor, std::map<std::string, Slot> slots)
      : path_(std::move(path)), descriptor_(descriptor), slots_(std::move(slots)) {}

  const std::string path_;
  int descriptor_;  // owned; -1 once finished
  std::map<std::string, Slot> slots_;
};

}  // namespace dime

#endif  // DIME_INDEX_SAFETENSORS_FILE_H_
