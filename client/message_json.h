#ifndef DIME_CLIENT_MESSAGE_JSON_H_
#define DIME_CLIENT_MESSAGE_JSON_H_

#include <string>

#include "absl/status/statusor.h"
#include "google/protobuf/message.h"
#include "google/protobuf/struct.pb.h"

namespace dime {

// Proto3's JSON mapping under the field names of the .proto files, fields without a value included,
// so that what a program reads is always there. Several lines.
absl::StatusOr<std::string> ToJson(const google::protobuf::Message& message);

// A payload on one line, for people; empty if there is none.
std::string PayloadText(const google::protobuf::Struct& payload);

}  // namespace dime

#endif  // DIME_CLIENT_MESSAGE_JSON_H_
