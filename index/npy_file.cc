#include "index/npy_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "index/durable_file.h"
#include "index/float_bits.h"
#include "index/shape.h"
#include "index/status_macros.h"

namespace dime {
namespace {

constexpr absl::string_view kMagic("\x93NUMPY", 6);
constexpr size_t kAlignment = 64;      // of the payload, as NumPy writes it
constexpr size_t kMaxDimensions = 64;  // NumPy's own limit
constexpr size_t kMaxHeaderBytes = 1 << 16;

struct Header {
  std::string descr;
  bool fortran_order = false;
  std::vector<int64_t> shape;
};

// Reads the one form of Python literal that the header may have:
// {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
class HeaderParser {
 public:
  explicit HeaderParser(absl::string_view text) : rest_(text) {}

  absl::StatusOr<Header> Parse() {
    Header header;
    bool has_descr = false;
    bool has_order = false;
    bool has_shape = false;
    RETURN_IF_ERROR(Expect('{'));
    while (!Consume('}')) {
      ASSIGN_OR_RETURN(const std::string key, ParseString());
      RETURN_IF_ERROR(Expect(':'));
      if (key == "descr" && !has_descr) {
        has_descr = true;
        ASSIGN_OR_RETURN(header.descr, ParseString());
      } else if (key == "fortran_order" && !has_order) {
        has_order = true;
        ASSIGN_OR_RETURN(header.fortran_order, ParseBool());
      } else if (key == "shape" && !has_shape) {
        has_shape = true;
        ASSIGN_OR_RETURN(header.shape, ParseShape());
      } else {
        return absl::InvalidArgumentError(
            absl::StrCat("unexpected or repeated key '", absl::CHexEscape(key), "'"));
      }
      if (!Consume(',')) {
        RETURN_IF_ERROR(Expect('}'));
        break;
      }
    }
    SkipSpace();
    if (!rest_.empty()) return absl::InvalidArgumentError("text after the closing brace");
    if (!has_descr || !has_order || !has_shape) {
      return absl::InvalidArgumentError("'descr', 'fortran_order' or 'shape' is missing");
    }
    return header;
  }

 private:
  void SkipSpace() { rest_ = absl::StripLeadingAsciiWhitespace(rest_); }

  bool Consume(char c) {
    SkipSpace();
    if (rest_.empty() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }

  absl::Status Expect(char c) {
    if (Consume(c)) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("expected '", std::string(1, c), "', found '",
                                                   absl::CHexEscape(rest_.substr(0, 16)), "'"));
  }

  absl::StatusOr<std::string> ParseString() {
    SkipSpace();
    if (rest_.empty() || (rest_[0] != '\'' && rest_[0] != '"')) {
      return absl::InvalidArgumentError(absl::StrCat("expected a string, found '",
                                                     absl::CHexEscape(rest_.substr(0, 16)),
                                                     "' (structured arrays are not supported)"));
    }
    const char quote = rest_[0];
    const size_t end = rest_.find(quote, 1);
    if (end == absl::string_view::npos) return absl::InvalidArgumentError("unclosed string");
    std::string text(rest_.substr(1, end - 1));
    rest_.remove_prefix(end + 1);
    return text;
  }

  absl::StatusOr<bool> ParseBool() {
    SkipSpace();
    for (const auto& [name, value] : {std::pair<absl::string_view, bool>{"True", true},
                                      std::pair<absl::string_view, bool>{"False", false}}) {
      if (rest_.substr(0, name.size()) == name) {
        rest_.remove_prefix(name.size());
        return value;
      }
    }
    return absl::InvalidArgumentError("'fortran_order' is neither True nor False");
  }

  absl::StatusOr<std::vector<int64_t>> ParseShape() {
    std::vector<int64_t> shape;
    RETURN_IF_ERROR(Expect('('));
    while (!Consume(')')) {
      SkipSpace();
      size_t digits = 0;
      while (digits < rest_.size() && absl::ascii_isdigit(rest_[digits])) ++digits;
      int64_t extent;
      if (!absl::SimpleAtoi(rest_.substr(0, digits), &extent)) {
        return absl::InvalidArgumentError(
            absl::StrCat("'shape' holds '", absl::CHexEscape(rest_.substr(0, 24)),
                         "' where a size between 0 and 2^63 is expected"));
      }
      rest_.remove_prefix(digits);
      // Python 2 wrote long integers with this suffix.
      if (!rest_.empty() && rest_[0] == 'L') rest_.remove_prefix(1);
      shape.push_back(extent);
      if (shape.size() > kMaxDimensions) {
        return absl::InvalidArgumentError(
            absl::StrCat("'shape' has more than ", kMaxDimensions, " dimensions"));
      }
      if (!Consume(',')) {
        RETURN_IF_ERROR(Expect(')'));
        break;
      }
    }
    return shape;
  }

  absl::string_view rest_;
};

template <typename Raw, typename Convert>
void ConvertAll(const std::byte* source, absl::Span<float> out, Convert convert) {
  for (size_t i = 0; i < out.size(); ++i) {
    Raw raw;  // copied, as the source may be unaligned
    std::memcpy(&raw, source + i * sizeof(Raw), sizeof(Raw));
    out[i] = convert(raw);
  }
}

// The whole header of a float32 array, padded to `bytes` in all (0: to the alignment).
std::string FormatHeader(int64_t rows, absl::Span<const int64_t> row_shape, size_t bytes) {
  std::string text = absl::StrCat("{'descr': '<f4', 'fortran_order': False, 'shape': (", rows, ",");
  if (!row_shape.empty()) absl::StrAppend(&text, " ", absl::StrJoin(row_shape, ", "));
  absl::StrAppend(&text, "), }");
  const size_t prefix = kMagic.size() + 4;
  if (bytes == 0) {
    bytes = (prefix + text.size() + 1 + kAlignment - 1) / kAlignment * kAlignment;
  }
  text.resize(bytes - prefix - 1, ' ');
  text.push_back('\n');
  const char version_and_size[] = {1, 0, static_cast<char>(text.size() & 0xff),
                                   static_cast<char>(text.size() >> 8)};
  return absl::StrCat(kMagic, absl::string_view(version_and_size, 4), text);
}

}  // namespace

NpyFile::NpyFile(std::unique_ptr<MappedFile> file, Type type, std::vector<int64_t> shape,
                 size_t payload_offset)
    : file_(std::move(file)),
      type_(type),
      shape_(std::move(shape)),
      payload_offset_(payload_offset) {
  if (shape_.empty()) return;
  rows_ = shape_[0];
  for (size_t i = 1; i < shape_.size(); ++i) row_size_ *= shape_[i];
}

absl::StatusOr<std::unique_ptr<NpyFile>> NpyFile::Open(const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  const absl::string_view content(reinterpret_cast<const char*>(file->bytes().data()),
                                  file->bytes().size());
  const auto error = [&path](const auto&... parts) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", parts...));
  };

  if (content.substr(0, kMagic.size()) != kMagic || content.size() < kMagic.size() + 4) {
    return error("not a NumPy .npy file");
  }
  const int version = static_cast<unsigned char>(content[6]);
  if (version < 1 || version > 3 || content[7] != 0) {
    return error(".npy version ", version, ".", static_cast<int>(content[7]), " is not known");
  }
  const size_t size_bytes = version == 1 ? 2 : 4;
  const size_t prefix = kMagic.size() + 2 + size_bytes;
  if (content.size() < prefix) return error("truncated .npy header");
  size_t header_bytes = 0;
  for (size_t i = 0; i < size_bytes; ++i) {
    header_bytes |= static_cast<size_t>(static_cast<unsigned char>(content[8 + i])) << (8 * i);
  }
  if (header_bytes > kMaxHeaderBytes) {
    return error(".npy header of ", header_bytes, " bytes; at most ", kMaxHeaderBytes,
                 " are allowed");
  }
  if (header_bytes > content.size() - prefix) return error("truncated .npy header");
  absl::StatusOr<Header> header = HeaderParser(content.substr(prefix, header_bytes)).Parse();
  if (!header.ok()) return error("malformed .npy header: ", header.status().message());

  Type type;
  int64_t element_bytes;
  if (header->descr == "<f2") {
    type = Type::kFloat16;
    element_bytes = 2;
  } else if (header->descr == "<f4") {
    type = Type::kFloat32;
    element_bytes = 4;
  } else if (header->descr == "<f8") {
    type = Type::kFloat64;
    element_bytes = 8;
  } else {
    return error("element type '", absl::CHexEscape(header->descr),
                 "'; little-endian float16, float32 or float64 is needed");
  }
  if (header->fortran_order) {
    return error("column-major (Fortran) order; save numpy.ascontiguousarray(a) instead");
  }
  const absl::StatusOr<int64_t> payload_bytes = ShapeProduct(header->shape, element_bytes);
  if (!payload_bytes.ok()) return error(payload_bytes.status().message());
  const size_t payload_offset = prefix + header_bytes;
  const size_t present = content.size() - payload_offset;
  if (present != static_cast<size_t>(*payload_bytes)) {
    return error("shape ", ShapeString(header->shape), " of '", header->descr, "' takes ",
                 *payload_bytes, " bytes, but the file has ", present,
                 present < static_cast<size_t>(*payload_bytes) ? " (truncated?)" : "");
  }
  return std::unique_ptr<NpyFile>(
      new NpyFile(std::move(file), type, std::move(header->shape), payload_offset));
}

absl::Status NpyFile::ReadRows(int64_t first, int64_t count, absl::Span<float> out) const {
  if (first < 0 || count < 0 || first > rows_ || count > rows_ - first) {
    return absl::OutOfRangeError(absl::StrCat(path(), ": rows [", first, ", ", first, " + ", count,
                                              ") are not within its ", rows_, " rows"));
  }
  const size_t size = static_cast<size_t>(count * row_size_);
  if (out.size() != size) {
    return absl::InvalidArgumentError(absl::StrCat(path(), ": ", count, " rows are ", size,
                                                   " floats, but there is room for ", out.size()));
  }
  if (size == 0) return absl::OkStatus();
  const std::byte* payload = file_->bytes().data() + payload_offset_;
  const size_t skip = static_cast<size_t>(first * row_size_);
  switch (type_) {
    case Type::kFloat32:
      std::memcpy(out.data(), payload + skip * sizeof(float), size * sizeof(float));
      break;
    case Type::kFloat16:
      ConvertAll<uint16_t>(payload + skip * sizeof(uint16_t), out, Float16ToFloat);
      break;
    case Type::kFloat64:
      ConvertAll<double>(payload + skip * sizeof(double), out,
                         [](double value) { return static_cast<float>(value); });
      break;
  }
  return absl::OkStatus();
}

NpyWriter::NpyWriter(std::string path, std::FILE* file, std::vector<int64_t> row_shape)
    : path_(std::move(path)), row_shape_(std::move(row_shape)), file_(file) {
  for (const int64_t extent : row_shape_) row_size_ *= extent;
}

absl::StatusOr<std::unique_ptr<NpyWriter>> NpyWriter::Create(const std::string& path,
                                                             std::vector<int64_t> row_shape) {
  for (const int64_t extent : row_shape) {
    if (extent < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": a row of shape ", ShapeString(row_shape), " holds nothing"));
    }
  }
  if (row_shape.size() >= kMaxDimensions || !ShapeProduct(row_shape, sizeof(float)).ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": a row of shape ", ShapeString(row_shape), " is too large"));
  }
  const std::string part = PartPath(path);
  std::FILE* file = std::fopen(part.c_str(), "wbe");
  if (file == nullptr) return FileError(errno, "cannot create", part);
  std::unique_ptr<NpyWriter> writer(new NpyWriter(path, file, std::move(row_shape)));
  // Room for the largest row count; Finish() writes the true one into the same space.
  const std::string header =
      FormatHeader(std::numeric_limits<int64_t>::max(), writer->row_shape_, 0);
  if (std::fwrite(header.data(), 1, header.size(), file) != header.size()) {
    return FileError(errno, "cannot write", part);
  }
  return writer;
}

NpyWriter::~NpyWriter() {
  if (file_ == nullptr) return;
  std::fclose(file_);
  unlink(PartPath(path_).c_str());
}

absl::Status NpyWriter::Append(absl::Span<const float> values) {
  if (file_ == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(path_, ": appended to after Finish()"));
  }
  const int64_t size = static_cast<int64_t>(values.size());
  if (size % row_size_ != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ": ", size, " floats are no whole number of rows of ", row_size_));
  }
  if (values.empty()) return absl::OkStatus();  // fwrite must not get a null pointer
  if (std::fwrite(values.data(), sizeof(float), values.size(), file_) != values.size()) {
    return FileError(errno, "cannot write", PartPath(path_));
  }
  rows_ += size / row_size_;
  return absl::OkStatus();
}

absl::Status NpyWriter::Finish() {
  if (file_ == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(path_, ": finished twice"));
  }
  const size_t header_bytes =
      FormatHeader(std::numeric_limits<int64_t>::max(), row_shape_, 0).size();
  const std::string header = FormatHeader(rows_, row_shape_, header_bytes);
  if (std::fseek(file_, 0, SEEK_SET) != 0 ||
      std::fwrite(header.data(), 1, header.size(), file_) != header.size() ||
      std::fflush(file_) != 0) {
    return FileError(errno, "cannot write", PartPath(path_));
  }
  RETURN_IF_ERROR(CommitPart(fileno(file_), path_));
  std::fclose(file_);
  file_ = nullptr;
  return absl::OkStatus();
}

}  // namespace dime
