#include "server/proto_values.h"

#include <string>
#include <utility>

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

Payload FromProtoStruct(const Struct& message) {
  Payload payload = Payload::object();
  for (const auto& [name, value] : message.fields()) payload[name] = FromProtoValue(value);
  return payload;
}

}  // namespace dime
