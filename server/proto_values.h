#ifndef DIME_SERVER_PROTO_VALUES_H_
#define DIME_SERVER_PROTO_VALUES_H_

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

// The payload of a message, not checked: see CheckPayload(). The way back:
// server/payload_message.h.
Payload FromProtoStruct(const google::protobuf::Struct& message);

}  // namespace dime

#endif  // DIME_SERVER_PROTO_VALUES_H_
