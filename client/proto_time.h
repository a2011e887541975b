#ifndef DIME_CLIENT_PROTO_TIME_H_
#define DIME_CLIENT_PROTO_TIME_H_

#include <string>

#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"

namespace dime {

// Times as messages carry them. Pure functions.

absl::Duration FromProto(const google::protobuf::Duration& duration);
absl::Time FromProto(const google::protobuf::Timestamp& time);

// "2026-01-31T12:00:00.123Z", UTC.
std::string TimeText(const google::protobuf::Timestamp& time);

}  // namespace dime

#endif  // DIME_CLIENT_PROTO_TIME_H_
