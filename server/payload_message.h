#ifndef DIME_SERVER_PAYLOAD_MESSAGE_H_
#define DIME_SERVER_PAYLOAD_MESSAGE_H_

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/protobuf/unknown_field_set.h"
#include "index/payload.h"
#include "server/proto_values.h"

namespace dime {

// A payload's message, google.protobuf.Struct, as it goes over the wire, without making the
// message, which would take longer than all else that is done for a payload. Pure functions.

// `payload`: an object.
std::string SerializePayloadMessage(const Payload& payload);
// Of a payload as a gallery stores it; the errors of VisitStoredPayload().
absl::StatusOr<std::string> SerializeStoredPayload(absl::string_view stored);

// Puts such a message into the field `payload` of one that is to be sent: as an unknown field of
// its number, which is the same over the wire. Here, message.payload() does not see it.
template <typename Message>
void PutSerializedPayload(std::string payload, Message& message) {
  *message.GetReflection()->MutableUnknownFields(&message)->AddLengthDelimited(
      Message::kPayloadFieldNumber) = std::move(payload);
}

// What items and hits have alike, in a message that is to be sent: payload, but for one that is
// left as it is stored, and times, where the record knows them.
template <typename Record, typename Message>
void WriteCommonFields(const Record& record, Message& message) {
  if (record.payload.is_object()) {
    PutSerializedPayload(SerializePayloadMessage(record.payload), message);
  }
  if (record.create_time != absl::InfinitePast()) {
    *message.mutable_create_time() = ToProtoTimestamp(record.create_time);
  }
  if (record.update_time != absl::InfinitePast()) {
    *message.mutable_update_time() = ToProtoTimestamp(record.update_time);
  }
}

}  // namespace dime

#endif  // DIME_SERVER_PAYLOAD_MESSAGE_H_
