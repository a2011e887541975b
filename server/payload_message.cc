#include "server/payload_message.h"

#include <cstdint>
#include <cstring>

#include "absl/container/inlined_vector.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/wire_format_lite.h"
#include "index/status_macros.h"

namespace dime {
namespace {

using ::google::protobuf::ListValue;
using ::google::protobuf::Struct;
using ::google::protobuf::Value;
using ::google::protobuf::internal::WireFormatLite;
using ::google::protobuf::io::CodedOutputStream;

constexpr uint8_t Tag(int field, WireFormatLite::WireType type) {
  return static_cast<uint8_t>(field << 3 | type);
}
constexpr uint8_t BytesTag(int field) {
  return Tag(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
}
// Of the entries of Struct.fields, a map.
constexpr int kNameFieldNumber = 1, kValueFieldNumber = 2;

// Of a tag, a length and that many bytes.
size_t SizeOfSized(size_t size) {
  return 1 + CodedOutputStream::VarintSize32(static_cast<uint32_t>(size)) + size;
}
// Writes the tag and the length, and gives where the bytes go.
uint8_t* WriteSize(uint8_t tag, size_t size, uint8_t* to) {
  *to++ = tag;
  return CodedOutputStream::WriteVarint32ToArray(static_cast<uint32_t>(size), to);
}
uint8_t* WriteText(absl::string_view text, uint8_t* to) {
  if (!text.empty()) std::memcpy(to, text.data(), text.size());
  return to + text.size();
}

// Writes the Struct that a payload's visit tells of. Lengths stand before what they are of: an
// object's or a list's are put there when it ends. Of a name that comes twice the last value
// counts, as whoever parses a map takes it.
class StructSerializer : public PayloadVisitor {
 public:
  void Null() override {
    Scalar(2, [](uint8_t* to) {
      to[0] = Tag(Value::kNullValueFieldNumber, WireFormatLite::WIRETYPE_VARINT);
      to[1] = 0;
    });
  }
  void Bool(bool value) override {
    Scalar(2, [value](uint8_t* to) {
      to[0] = Tag(Value::kBoolValueFieldNumber, WireFormatLite::WIRETYPE_VARINT);
      to[1] = value ? 1 : 0;
    });
  }
  void Number(double value) override {
    Scalar(1 + sizeof(value), [value](uint8_t* to) {
      to[0] = Tag(Value::kNumberValueFieldNumber, WireFormatLite::WIRETYPE_FIXED64);
      WireFormatLite::WriteDoubleNoTagToArray(value, to + 1);
    });
  }
  void Text(absl::string_view value) override {
    Scalar(SizeOfSized(value.size()), [value](uint8_t* to) {
      WriteText(value, WriteSize(BytesTag(Value::kStringValueFieldNumber), value.size(), to));
    });
  }
  void StartObject() override { Start(/*is_list=*/false); }
  void Name(absl::string_view name) override { name_.assign(name.data(), name.size()); }
  void EndObject() override { End(Value::kStructValueFieldNumber); }
  void StartList() override { Start(/*is_list=*/true); }
  void EndList() override { End(Value::kListValueFieldNumber); }

  std::string Take() { return std::move(bytes_); }

 private:
  struct Open {
    std::string name;  // in the object that it stands in
    size_t start = 0;  // of what it holds, in `bytes_`
    bool is_list = false;
  };

  // What stands before a Value of `size` bytes, called `name_`, in the list or object that is open.
  size_t HeadSize(size_t size) const {
    if (open_.back().is_list) return SizeOfSized(size) - size;
    return SizeOfSized(EntrySize(size)) - size;
  }
  size_t EntrySize(size_t size) const { return SizeOfSized(name_.size()) + SizeOfSized(size); }
  uint8_t* WriteHead(size_t size, uint8_t* to) const {
    if (open_.back().is_list) return WriteSize(BytesTag(ListValue::kValuesFieldNumber), size, to);
    to = WriteSize(BytesTag(Struct::kFieldsFieldNumber), EntrySize(size), to);
    to = WriteText(name_, WriteSize(BytesTag(kNameFieldNumber), name_.size(), to));
    return WriteSize(BytesTag(kValueFieldNumber), size, to);
  }

  // `write` writes the Value's `size` bytes. Outside of the root they go nowhere.
  template <typename Write>
  void Scalar(size_t size, Write write) {
    if (open_.empty()) return;
    const size_t end = bytes_.size();
    bytes_.resize(end + HeadSize(size) + size);
    write(WriteHead(size, At(end)));
  }
  void Start(bool is_list) {
    open_.push_back({.name = std::move(name_), .start = bytes_.size(), .is_list = is_list});
  }
  // `field`: of the Value that it becomes, unless it is the root, the Struct itself.
  void End(int field) {
    const size_t start = open_.back().start;
    const size_t content = bytes_.size() - start;
    name_ = std::move(open_.back().name);
    open_.pop_back();
    if (open_.empty()) return;
    const size_t size = SizeOfSized(content);
    bytes_.insert(start, HeadSize(size) + size - content, '\0');
    WriteSize(BytesTag(field), content, WriteHead(size, At(start)));
  }
  uint8_t* At(size_t index) { return reinterpret_cast<uint8_t*>(&bytes_[index]); }

  std::string bytes_, name_;
  absl::InlinedVector<Open, 4> open_;
};

}  // namespace

std::string SerializePayloadMessage(const Payload& payload) {
  StructSerializer serializer;
  VisitPayload(payload, serializer);
  return serializer.Take();
}

absl::StatusOr<std::string> SerializeStoredPayload(absl::string_view stored) {
  StructSerializer serializer;
  RETURN_IF_ERROR(VisitStoredPayload(stored, serializer));
  return serializer.Take();
}

}  // namespace dime
