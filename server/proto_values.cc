#include "server/proto_values.h"

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/wire_format_lite.h"
#include "index/status_macros.h"

namespace dime {
namespace {

using ::google::protobuf::ListValue;
using ::google::protobuf::Struct;
using ::google::protobuf::Value;

Value ToProtoValue(const Payload& payload) {
  Value value;
  if (payload.is_string()) {
    value.set_string_value(payload.get_ref<const std::string&>());
  } else if (payload.is_number()) {
    value.set_number_value(payload.get<double>());
  } else if (payload.is_boolean()) {
    value.set_bool_value(payload.get<bool>());
  } else if (payload.is_object()) {
    *value.mutable_struct_value() = ToProtoStruct(payload);
  } else if (payload.is_array()) {
    auto& list = *value.mutable_list_value();
    for (const Payload& element : payload) *list.add_values() = ToProtoValue(element);
  } else {
    value.set_null_value(google::protobuf::NULL_VALUE);
  }
  return value;
}

using ::google::protobuf::internal::WireFormatLite;
using ::google::protobuf::io::CodedOutputStream;

constexpr char Tag(int field, WireFormatLite::WireType type) {
  return static_cast<char>(field << 3 | type);
}
constexpr char BytesTag(int field) { return Tag(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED); }
// Of the entries of Struct.fields, a map.
constexpr int kNameFieldNumber = 1, kValueFieldNumber = 2;

size_t SizeOfSized(size_t size) {  // with a tag and its length before it
  return 1 + CodedOutputStream::VarintSize32(static_cast<uint32_t>(size)) + size;
}
void AppendSize(char tag, size_t size, std::string& to) {
  uint8_t bytes[5];
  const uint8_t* const end =
      CodedOutputStream::WriteVarint32ToArray(static_cast<uint32_t>(size), bytes);
  to.push_back(tag);
  to.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(end - bytes));
}

// Writes the Struct that a payload's visit tells of as it goes over the wire. Of a name that comes
// twice the last value counts, as whoever parses a map takes it.
class StructSerializer : public PayloadVisitor {
 public:
  void Null() override { Put({Tag(Value::kNullValueFieldNumber, kVarint), 0}); }
  void Bool(bool value) override {
    Put({Tag(Value::kBoolValueFieldNumber, kVarint), static_cast<char>(value)});
  }
  void Number(double value) override {
    std::string bytes(1 + sizeof(value), Tag(Value::kNumberValueFieldNumber, kFixed64));
    WireFormatLite::WriteDoubleNoTagToArray(value, reinterpret_cast<uint8_t*>(&bytes[1]));
    Put(bytes);
  }
  void Text(std::string value) override { PutSized(Value::kStringValueFieldNumber, value); }
  void StartObject() override { open_.push_back({.name = std::move(name_)}); }
  void Name(std::string name) override { name_ = std::move(name); }
  void EndObject() override { Close(Value::kStructValueFieldNumber); }
  void StartList() override { open_.push_back({.name = std::move(name_), .is_list = true}); }
  void EndList() override { Close(Value::kListValueFieldNumber); }

  std::string Take() { return std::move(root_); }

 private:
  static constexpr auto kVarint = WireFormatLite::WIRETYPE_VARINT;
  static constexpr auto kFixed64 = WireFormatLite::WIRETYPE_FIXED64;
  struct Open {
    std::string name;  // in the object that it stands in
    std::string bytes;
    bool is_list = false;
  };

  // A Value whose bytes are `head` and then `content`; outside of the root it goes nowhere.
  void Put(absl::string_view head, absl::string_view content = "") {
    if (open_.empty()) return;
    std::string& to = open_.back().bytes;
    const size_t size = head.size() + content.size();
    if (open_.back().is_list) {
      AppendSize(BytesTag(ListValue::kValuesFieldNumber), size, to);
    } else {
      AppendSize(BytesTag(Struct::kFieldsFieldNumber),
                 SizeOfSized(name_.size()) + SizeOfSized(size), to);
      AppendSize(BytesTag(kNameFieldNumber), name_.size(), to);
      to += name_;
      AppendSize(BytesTag(kValueFieldNumber), size, to);
    }
    absl::StrAppend(&to, head, content);
  }
  void Put(std::initializer_list<char> bytes) {
    Put(absl::string_view(bytes.begin(), bytes.size()));
  }
  void PutSized(int field, absl::string_view content) {
    std::string head;
    AppendSize(BytesTag(field), content.size(), head);
    Put(head, content);
  }
  void Close(int field) {
    Open closed = std::move(open_.back());
    open_.pop_back();
    if (open_.empty()) {
      root_ = std::move(closed.bytes);
      return;
    }
    name_ = std::move(closed.name);
    PutSized(field, closed.bytes);
  }

  std::string root_, name_;
  std::vector<Open> open_;
};

Payload FromProtoValue(const Value& value) {
  switch (value.kind_case()) {
    case Value::kStringValue:
      return value.string_value();
    case Value::kNumberValue:
      return value.number_value();
    case Value::kBoolValue:
      return value.bool_value();
    case Value::kStructValue:
      return FromProtoStruct(value.struct_value());
    case Value::kListValue: {
      Payload list = Payload::array();
      for (const Value& element : value.list_value().values()) {
        list.push_back(FromProtoValue(element));
      }
      return list;
    }
    default:
      return nullptr;
  }
}

}  // namespace

google::protobuf::Duration ToProtoDuration(absl::Duration duration) {
  google::protobuf::Duration proto;
  const absl::Duration seconds = absl::Trunc(duration, absl::Seconds(1));
  proto.set_seconds(absl::ToInt64Seconds(seconds));
  proto.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(duration - seconds)));
  return proto;
}

absl::Duration FromProtoDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

google::protobuf::Timestamp ToProtoTimestamp(absl::Time time) {
  google::protobuf::Timestamp proto;
  const absl::Duration since_epoch = time - absl::UnixEpoch();
  const absl::Duration seconds = absl::Floor(since_epoch, absl::Seconds(1));
  proto.set_seconds(absl::ToInt64Seconds(seconds));
  proto.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(since_epoch - seconds)));
  return proto;
}

Struct ToProtoStruct(const Payload& payload) {
  Struct message;
  for (const auto& [name, value] : payload.items()) {
    (*message.mutable_fields())[name] = ToProtoValue(value);
  }
  return message;
}

absl::StatusOr<std::string> SerializeStoredPayload(absl::string_view stored) {
  StructSerializer serializer;
  RETURN_IF_ERROR(VisitPayload(stored, serializer));
  return serializer.Take();
}

Payload FromProtoStruct(const Struct& message) {
  Payload payload = Payload::object();
  for (const auto& [name, value] : message.fields()) payload[name] = FromProtoValue(value);
  return payload;
}

}  // namespace dime
