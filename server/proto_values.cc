#include "server/proto_values.h"

#include <cstdint>
#include <string>

namespace dime {
namespace {

using ::google::protobuf::Struct;
using ::google::protobuf::Value;

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

Payload FromProtoStruct(const Struct& message) {
  Payload payload = Payload::object();
  for (const auto& [name, value] : message.fields()) payload[name] = FromProtoValue(value);
  return payload;
}

}  // namespace dime
