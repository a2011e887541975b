#include "index/safetensors_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "index/durable_file.h"
#include "index/float_bits.h"
#include "index/shape.h"
#include "index/status_macros.h"
#include "index/text_lines.h"

namespace dime {
namespace {

using nlohmann::json;

constexpr size_t kPrefixBytes = 8;                 // the header's size, little-endian
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr uint64_t kPayloadAlignment = 64;
constexpr size_t kMaxDimensions = 64;
constexpr absl::string_view kMetadataKey = "__metadata__";

struct TypeEntry {
  TensorType type;
  absl::string_view name;
  size_t bytes;
};
constexpr TypeEntry kTypes[] = {
    {TensorType::kFloat16, "F16", 2}, {TensorType::kBFloat16, "BF16", 2},
    {TensorType::kFloat32, "F32", 4}, {TensorType::kFloat64, "F64", 8},
    {TensorType::kInt32, "I32", 4},   {TensorType::kInt64, "I64", 8},
    {TensorType::kUint8, "U8", 1},    {TensorType::kBool, "BOOL", 1},
};

const TypeEntry* FindType(absl::string_view name) {
  for (const TypeEntry& entry : kTypes) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

struct HeaderEntry {
  std::string dtype;
  bool has_dtype = false;
  std::vector<int64_t> shape;
  bool has_shape = false;
  std::vector<uint64_t> offsets;  // [begin, end) within the payload, bytes
  bool has_offsets = false;
};

struct Header {
  std::map<std::string, HeaderEntry> entries;
  std::map<std::string, std::string> metadata;
};

// Takes the header from the parser's events: nlohmann's event parser keeps its own stack on the
// heap, sees repeated names (which its tree parser merges), and whatever nests deeper than the
// format does is refused here at the first bracket.
class HeaderReader : public json::json_sax_t {
 public:
  // A reason if parsing failed.
  const std::string& reason() const { return reason_; }
  Header& header() { return header_; }

  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("a boolean"); }
  bool number_float(number_float_t, const string_t&) override { return Unexpected("a fraction"); }
  bool binary(binary_t&) override { return Unexpected("binary content"); }
  bool number_integer(number_integer_t) override { return Unexpected("a negative number"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (state_ == State::kShape) {
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) ||
          entry_->shape.size() == kMaxDimensions) {
        return Fail(InTensor("its shape is too large"));
      }
      entry_->shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (state_ == State::kOffsets) {
      if (entry_->offsets.size() == 2)
        return Fail(InTensor("data_offsets has more than 2 numbers"));
      entry_->offsets.push_back(value);
      return true;
    }
    return Unexpected("a number");
  }

  bool string(string_t& value) override {
    if (state_ == State::kMetadata) {
      header_.metadata[key_] = value;
      return true;
    }
    if (state_ == State::kTensor && key_ == "dtype") {
      entry_->dtype = value;
      return true;
    }
    return Unexpected("a string");
  }

  bool start_object(std::size_t) override {
    if (state_ == State::kStart) {
      state_ = State::kTop;
      return true;
    }
    if (state_ != State::kTop) return Unexpected("an object");
    if (name_ == kMetadataKey) {
      state_ = State::kMetadata;
    } else {
      entry_ = &header_.entries[name_];
      state_ = State::kTensor;
    }
    return true;
  }

  bool key(string_t& value) override {
    switch (state_) {
      case State::kTop:
        name_ = value;
        if (!names_.insert(name_).second) {
          return Fail(
              absl::StrCat("tensor \"", absl::Utf8SafeCHexEscape(name_), "\" is there twice"));
        }
        return true;
      case State::kMetadata:
        key_ = value;
        if (header_.metadata.contains(key_)) {
          return Fail(
              absl::StrCat("__metadata__ has \"", absl::Utf8SafeCHexEscape(key_), "\" twice"));
        }
        return true;
      case State::kTensor: {
        key_ = value;
        bool* seen = key_ == "dtype"          ? &entry_->has_dtype
                     : key_ == "shape"        ? &entry_->has_shape
                     : key_ == "data_offsets" ? &entry_->has_offsets
                                              : nullptr;
        if (seen == nullptr || *seen) {
          return Fail(InTensor(absl::StrCat(seen == nullptr ? "unknown" : "repeated", " field \"",
                                            absl::Utf8SafeCHexEscape(key_), "\"")));
        }
        *seen = true;
        return true;
      }
      default:
        return Unexpected("a name");
    }
  }

  bool end_object() override {
    if (state_ == State::kTensor) {
      if (!entry_->has_dtype || !entry_->has_shape || !entry_->has_offsets) {
        return Fail(InTensor("dtype, shape or data_offsets is missing"));
      }
      if (entry_->offsets.size() != 2) return Fail(InTensor("data_offsets has too few numbers"));
      entry_ = nullptr;
    }
    state_ = state_ == State::kTop ? State::kEnd : State::kTop;
    return true;
  }

  bool start_array(std::size_t) override {
    if (state_ != State::kTensor) return Unexpected("an array");
    if (key_ == "shape") {
      state_ = State::kShape;
    } else if (key_ == "data_offsets") {
      state_ = State::kOffsets;
    } else {
      return Unexpected("an array");
    }
    return true;
  }

  bool end_array() override {
    state_ = State::kTensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    // Not the exception's own text: it quotes the input, which may be anything.
    return Fail(absl::StrCat("no JSON from byte ", position, " of the header on"));
  }

 private:
  enum class State { kStart, kTop, kMetadata, kTensor, kShape, kOffsets, kEnd };

  bool Fail(std::string reason) {
    if (reason_.empty()) reason_ = std::move(reason);
    return false;
  }
  std::string InTensor(absl::string_view what) const {
    return absl::StrCat("tensor \"", absl::Utf8SafeCHexEscape(name_), "\": ", what);
  }
  bool Unexpected(absl::string_view what) {
    switch (state_) {
      case State::kStart:
        return Fail(absl::StrCat("the header is ", what, " instead of an object"));
      case State::kTop:
        return Fail(InTensor(absl::StrCat("found ", what, " instead of its description")));
      case State::kMetadata:
        return Fail(absl::StrCat("__metadata__: found ", what, " instead of a string"));
      default:
        return Fail(
            InTensor(absl::StrCat("found ", what, " in \"", absl::Utf8SafeCHexEscape(key_), "\"")));
    }
  }

  State state_ = State::kStart;
  std::string name_;              // of the tensor
  std::string key_;               // within the tensor or the metadata
  HeaderEntry* entry_ = nullptr;  // of name_
  std::set<std::string> names_;
  Header header_;
  std::string reason_;
};

absl::StatusOr<Header> ParseHeader(absl::string_view text) {
  // The format has it so, which keeps other JSON-like content from being guessed at.
  if (text.empty() || text[0] != '{') {
    return absl::InvalidArgumentError("the header does not begin with {");
  }
  HeaderReader reader;
  bool parsed = false;
  try {
    parsed = json::sax_parse(text.begin(), text.end(), &reader);
  } catch (const std::exception&) {
    return absl::InvalidArgumentError("the header is malformed");
  }
  if (!parsed) return absl::InvalidArgumentError(reader.reason());
  return std::move(reader.header());
}

absl::StatusOr<std::map<std::string, TensorView>> ResolveTensors(
    const std::map<std::string, HeaderEntry>& entries, absl::Span<const std::byte> payload) {
  std::map<std::string, TensorView> tensors;
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const auto& [name, entry] : entries) {
    const auto error = [&name = name](const auto&... parts) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor \"", absl::Utf8SafeCHexEscape(name), "\": ", parts...));
    };
    const TypeEntry* type = FindType(entry.dtype);
    if (type == nullptr) {
      return error("type \"", absl::Utf8SafeCHexEscape(entry.dtype), "\" is not supported");
    }
    const absl::StatusOr<int64_t> size =
        ShapeProduct(entry.shape, static_cast<int64_t>(type->bytes));
    if (!size.ok()) return error(size.status().message());
    const uint64_t begin = entry.offsets[0];
    const uint64_t end = entry.offsets[1];
    if (begin > end || end > payload.size()) {
      return error("bytes [", begin, ", ", end, ") are not within the ", payload.size(),
                   " bytes that the file has (truncated?)");
    }
    if (end - begin != static_cast<uint64_t>(*size)) {
      return error("shape ", ShapeString(entry.shape), " of ", type->name, " takes ", *size,
                   " bytes, but it has ", end - begin);
    }
    ranges.emplace_back(begin, end);
    tensors.emplace(name, TensorView{.type = type->type,
                                     .shape = entry.shape,
                                     .bytes = payload.subspan(begin, end - begin)});
  }
  std::sort(ranges.begin(), ranges.end());
  uint64_t position = 0;
  for (const auto& [begin, end] : ranges) {
    if (begin != position) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensors overlap or leave a gap between bytes ", std::min(begin, position),
                       " and ", std::max(begin, position), " of the payload"));
    }
    position = end;
  }
  if (position != payload.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(payload.size() - position, " bytes behind the last tensor"));
  }
  return tensors;
}

template <typename Raw, typename Convert>
std::vector<float> ConvertAll(absl::Span<const std::byte> bytes, Convert convert) {
  std::vector<float> floats(bytes.size() / sizeof(Raw));
  for (size_t i = 0; i < floats.size(); ++i) {
    Raw raw;  // copied, as the bytes may be unaligned
    std::memcpy(&raw, bytes.data() + i * sizeof(Raw), sizeof(Raw));
    floats[i] = convert(raw);
  }
  return floats;
}

}  // namespace

absl::string_view TensorTypeName(TensorType type) { return kTypes[static_cast<size_t>(type)].name; }

size_t TensorTypeBytes(TensorType type) { return kTypes[static_cast<size_t>(type)].bytes; }

int64_t TensorView::elements() const {
  return static_cast<int64_t>(bytes.size() / TensorTypeBytes(type));
}

absl::StatusOr<std::vector<float>> TensorView::ToFloats() const {
  switch (type) {
    case TensorType::kFloat16:
      return ConvertAll<uint16_t>(bytes, Float16ToFloat);
    case TensorType::kBFloat16:
      return ConvertAll<uint16_t>(bytes, Bfloat16ToFloat);
    case TensorType::kFloat64:
      return ConvertAll<double>(bytes, [](double value) { return static_cast<float>(value); });
    case TensorType::kFloat32: {
      std::vector<float> floats(bytes.size() / sizeof(float));
      if (!floats.empty()) std::memcpy(floats.data(), bytes.data(), bytes.size());
      return floats;
    }
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("a tensor of type ", TensorTypeName(type), " holds no floats"));
  }
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  const absl::Span<const std::byte> content = file->bytes();
  const auto error = [&path](const auto&... parts) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", parts...));
  };

  if (content.size() < kPrefixBytes) return error("not a safetensors file (too short)");
  uint64_t header_bytes = 0;
  for (size_t i = 0; i < kPrefixBytes; ++i) {
    header_bytes |= std::to_integer<uint64_t>(content[i]) << (8 * i);
  }
  if (header_bytes > kMaxHeaderBytes) {
    return error("not a safetensors file (a header of ", header_bytes, " bytes; at most ",
                 kMaxHeaderBytes, " are allowed)");
  }
  if (header_bytes > content.size() - kPrefixBytes) {
    return error("the header of ", header_bytes, " bytes is truncated");
  }
  const absl::string_view text(reinterpret_cast<const char*>(content.data()) + kPrefixBytes,
                               header_bytes);
  absl::StatusOr<Header> header = ParseHeader(text);
  if (!header.ok()) return error(header.status().message());
  absl::StatusOr<std::map<std::string, TensorView>> tensors =
      ResolveTensors(header->entries, content.subspan(kPrefixBytes + header_bytes));
  if (!tensors.ok()) return error(tensors.status().message());
  return std::unique_ptr<SafetensorsFile>(
      new SafetensorsFile(std::move(file), *std::move(tensors), std::move(header->metadata)));
}

const TensorView* SafetensorsFile::Find(absl::string_view name) const {
  const auto found = tensors_.find(std::string(name));
  return found == tensors_.end() ? nullptr : &found->second;
}

absl::StatusOr<TensorView> SafetensorsFile::Get(absl::string_view name) const {
  const TensorView* tensor = Find(name);
  if (tensor == nullptr) {
    return absl::NotFoundError(absl::StrCat(path(), ": there is no tensor \"", name, "\""));
  }
  return *tensor;
}

absl::StatusOr<absl::Span<const float>> SafetensorsFile::Floats(
    absl::string_view name, absl::Span<const int64_t> shape) const {
  ASSIGN_OR_RETURN(const TensorView tensor, Get(name));
  if (tensor.type != TensorType::kFloat32 || tensor.shape != shape) {
    return absl::InvalidArgumentError(
        absl::StrCat(path(), ": tensor \"", name, "\" is ", TensorTypeName(tensor.type), " ",
                     ShapeString(tensor.shape), "; needed is F32 ", ShapeString(shape)));
  }
  if (reinterpret_cast<uintptr_t>(tensor.bytes.data()) % alignof(float) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(path(), ": tensor \"", name, "\" is not aligned to 4 bytes"));
  }
  return absl::MakeConstSpan(reinterpret_cast<const float*>(tensor.bytes.data()),
                             tensor.bytes.size() / sizeof(float));
}

absl::StatusOr<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::Create(
    const std::string& path, std::vector<Declaration> declarations,
    const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  for (const auto& [key, value] : metadata) {
    if (!IsValidUtf8(key) || !IsValidUtf8(value)) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": metadata that is no UTF-8"));
    }
    header[std::string(kMetadataKey)][key] = value;
  }
  std::map<std::string, Slot> slots;
  uint64_t position = 0;  // in the payload
  for (const Declaration& declaration : declarations) {
    const auto error = [&](absl::string_view what) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": tensor \"", declaration.name, "\" ", what));
    };
    const size_t element_bytes = TensorTypeBytes(declaration.type);
    const absl::StatusOr<int64_t> size =
        ShapeProduct(declaration.shape, static_cast<int64_t>(element_bytes));
    if (!size.ok()) return error(absl::StrCat("has a wrong shape: ", size.status().message()));
    if (!IsValidUtf8(declaration.name) || declaration.name == kMetadataKey) {
      return error("has a name that the format does not allow");
    }
    if (position % element_bytes != 0) {
      return error("would be misaligned; declare larger types first");
    }
    const uint64_t end = position + static_cast<uint64_t>(*size);
    // Within signed 64 bits with room for the header.
    if (end > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) - 2 * kMaxHeaderBytes) {
      return error("makes the file too large");
    }
    const Slot slot{
        .type = declaration.type, .offset = position, .size = end - position, .written = 0};
    if (!slots.emplace(declaration.name, slot).second) return error("is declared twice");
    header[declaration.name] = {{"dtype", TensorTypeName(declaration.type)},
                                {"shape", declaration.shape},
                                {"data_offsets", {position, end}}};
    position = end;
  }
  std::string text = header.dump();
  const uint64_t start =
      (kPrefixBytes + text.size() + kPayloadAlignment - 1) / kPayloadAlignment * kPayloadAlignment;
  text.resize(start - kPrefixBytes, ' ');
  if (text.size() > kMaxHeaderBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": a header of ", text.size(), " bytes; at most ", kMaxHeaderBytes, " are allowed"));
  }
  for (auto& [name, slot] : slots) slot.offset += start;
  std::string prefix;
  for (size_t i = 0; i < kPrefixBytes; ++i) {
    prefix.push_back(static_cast<char>(text.size() >> (8 * i) & 0xff));
  }

  const std::string part = PartPath(path);
  const int descriptor = open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor < 0) return FileError(errno, "cannot create", part);
  std::unique_ptr<SafetensorsWriter> writer(
      new SafetensorsWriter(path, descriptor, std::move(slots)));
  RETURN_IF_ERROR(WriteFully(descriptor, AsBytes(absl::StrCat(prefix, text)), part));
  return writer;
}

SafetensorsWriter::~SafetensorsWriter() {
  if (descriptor_ < 0) return;
  close(descriptor_);
  unlink(PartPath(path_).c_str());
}

absl::Status SafetensorsWriter::Append(absl::string_view name, absl::Span<const std::byte> bytes) {
  if (descriptor_ < 0) {
    return absl::FailedPreconditionError(absl::StrCat(path_, ": appended to after Finish()"));
  }
  const auto found = slots_.find(std::string(name));
  if (found == slots_.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ": tensor \"", name, "\" was not declared"));
  }
  Slot& slot = found->second;
  if (bytes.size() > slot.size - slot.written) {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": tensor \"", name, "\" has ", slot.size,
                                                   " bytes; got ", slot.written + bytes.size()));
  }
  while (!bytes.empty()) {
    const ssize_t written = pwrite(descriptor_, bytes.data(), bytes.size(),
                                   static_cast<off_t>(slot.offset + slot.written));
    if (written < 0) {
      if (errno == EINTR) continue;
      return FileError(errno, "cannot write", PartPath(path_));
    }
    slot.written += static_cast<uint64_t>(written);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::AppendFloats(absl::string_view name,
                                             absl::Span<const float> values) {
  const auto found = slots_.find(std::string(name));
  if (found != slots_.end() && found->second.type != TensorType::kFloat32) {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": tensor \"", name, "\" was declared ",
                                                   TensorTypeName(found->second.type),
                                                   ", but gets F32"));
  }
  return Append(name, AsBytes(values));
}

absl::Status SafetensorsWriter::Finish() {
  if (descriptor_ < 0) {
    return absl::FailedPreconditionError(absl::StrCat(path_, ": finished twice"));
  }
  std::vector<std::string> unfilled;
  for (const auto& [name, slot] : slots_) {
    if (slot.written != slot.size) unfilled.push_back(name);
  }
  if (!unfilled.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(path_, ": not filled whole: ", absl::StrJoin(unfilled, ", ")));
  }
  RETURN_IF_ERROR(CommitPart(descriptor_, path_));
  close(descriptor_);
  descriptor_ = -1;
  return absl::OkStatus();
}

}  // namespace dime
