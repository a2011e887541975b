#include "client/message_json.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/util/json_util.h"

namespace dime {

absl::StatusOr<std::string> ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  if (!status.ok()) {
    return absl::InternalError(absl::StrCat("cannot write JSON: ", std::string(status.message())));
  }
  return json;
}

std::string PayloadText(const google::protobuf::Struct& payload) {
  if (payload.fields().empty()) return "";
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(payload, &json);
  return status.ok() ? json : "?";
}

}  // namespace dime
