#include "server/proto_values.h"

#include <string>
#include <utility>
#include <vector>

namespace dime {
namespace {

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

// Makes a message of what a payload's visit tells.
class StructWriter : public PayloadVisitor {
 public:
  explicit StructWriter(Struct& root) : root_(root) {}
  void Null() override { Next().set_null_value(google::protobuf::NULL_VALUE); }
  void Bool(bool value) override { Next().set_bool_value(value); }
  void Number(double value) override { Next().set_number_value(value); }
  void Text(std::string value) override { Next().set_string_value(std::move(value)); }
  void StartObject() override {
    open_.push_back({.object = open_.empty() ? &root_ : Cleared().mutable_struct_value()});
  }
  void Name(std::string name) override { name_ = std::move(name); }
  void EndObject() override { open_.pop_back(); }
  void StartList() override { open_.push_back({.list = Cleared().mutable_list_value()}); }
  void EndList() override { open_.pop_back(); }

 private:
  struct Open {  // one of them
    Struct* object = nullptr;
    google::protobuf::ListValue* list = nullptr;
  };
  // Where the next value goes; outside of the root, where nothing is told to be kept, nowhere.
  Value& Next() {
    if (open_.empty()) return nowhere_;
    if (open_.back().list != nullptr) return *open_.back().list->add_values();
    return (*open_.back().object->mutable_fields())[std::move(name_)];
  }
  // Of a name that comes twice the last value counts.
  Value& Cleared() {
    Value& next = Next();
    next.Clear();
    return next;
  }

  Struct& root_;
  Value nowhere_;
  std::vector<Open> open_;
  std::string name_;
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

absl::Status AddStoredPayload(absl::string_view stored, Struct& message) {
  StructWriter writer(message);
  return VisitPayload(stored, writer);
}

Payload FromProtoStruct(const Struct& message) {
  Payload payload = Payload::object();
  for (const auto& [name, value] : message.fields()) payload[name] = FromProtoValue(value);
  return payload;
}

}  // namespace dime
