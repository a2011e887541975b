#ifndef DIME_SERVER_PROTO_VALUES_H_
#define DIME_SERVER_PROTO_VALUES_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "index/payload.h"

namespace dime {

// The library's own messages from native types, and back. Pure functions.

google::protobuf::Duration ToProtoDuration(absl::Duration duration);
absl::Duration FromProtoDuration(const google::protobuf::Duration& duration);
google::protobuf::Timestamp ToProtoTimestamp(absl::Time time);

// A payload, which must be an object, and its message. The message is not checked here: see
// CheckPayload().
google::protobuf::Struct ToProtoStruct(const Payload& payload);
Payload FromProtoStruct(const google::protobuf::Struct& message);
// A stored payload's message as it goes over the wire, without making the message, which would take
// longer than all else that is done for a payload. The errors of VisitPayload().
absl::StatusOr<std::string> SerializeStoredPayload(absl::string_view stored);

// What messages of items and hits have alike: payload and times, where the record knows them.
template <typename Record, typename Message>
void WriteCommonFields(const Record& record, Message& message) {
  if (record.payload.is_object()) *message.mutable_payload() = ToProtoStruct(record.payload);
  if (record.create_time != absl::InfinitePast()) {
    *message.mutable_create_time() = ToProtoTimestamp(record.create_time);
  }
  if (record.update_time != absl::InfinitePast()) {
    *message.mutable_update_time() = ToProtoTimestamp(record.update_time);
  }
}

}  // namespace dime

#endif  // DIME_SERVER_PROTO_VALUES_H_
