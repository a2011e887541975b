#include "client/client_error.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/proto_time.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace dime {
namespace {

constexpr absl::string_view kDetailsUrl = "type.googleapis.com/google.rpc.Status";
constexpr absl::string_view kRequestIdUrl = "dime.v1/request_id";

}  // namespace

ClientError ClientError::FromStatus(const absl::Status& status) {
  ClientError error;
  error.code = status.code();
  error.message = std::string(status.message());
  if (const absl::optional<absl::Cord> id = status.GetPayload(kRequestIdUrl); id.has_value()) {
    error.request_id = std::string(*id);
  }
  const absl::optional<absl::Cord> payload = status.GetPayload(kDetailsUrl);
  google::rpc::Status details;
  if (!payload.has_value() || !details.ParseFromString(std::string(*payload))) return error;

  for (const google::protobuf::Any& detail : details.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest bad_request;
    google::rpc::RetryInfo retry;
    google::rpc::ResourceInfo resource;
    if (detail.UnpackTo(&info)) {
      error.reason = info.reason();
      error.domain = info.domain();
      error.metadata = {info.metadata().begin(), info.metadata().end()};
    } else if (detail.UnpackTo(&bad_request)) {
      for (const auto& violation : bad_request.field_violations()) {
        error.field_violations.push_back({violation.field(), violation.description()});
      }
    } else if (detail.UnpackTo(&retry)) {
      error.retry_delay = FromProto(retry.retry_delay());
    } else if (detail.UnpackTo(&resource)) {
      error.resource_type = resource.resource_type();
      error.resource_name = resource.resource_name();
    }
  }
  return error;
}

absl::Status StatusFromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  // The codes of both libraries are the same numbers.
  absl::Status result(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  google::rpc::Status details;
  if (!status.error_details().empty() && details.ParseFromString(status.error_details())) {
    result.SetPayload(kDetailsUrl, absl::Cord(status.error_details()));
  }
  return result;
}

void AttachRequestId(absl::string_view request_id, absl::Status& status) {
  if (!status.ok() && !request_id.empty()) status.SetPayload(kRequestIdUrl, absl::Cord(request_id));
}

absl::Status InvalidFieldError(absl::string_view field, absl::string_view description,
                               v1::ErrorReason reason) {
  absl::Status result = absl::InvalidArgumentError(absl::StrCat(field, " ", description));
  google::rpc::Status details;
  details.set_code(static_cast<int>(result.code()));
  details.set_message(std::string(result.message()));
  google::rpc::ErrorInfo info;
  info.set_domain("dime.v1");
  info.set_reason(std::string(absl::StripPrefix(v1::ErrorReason_Name(reason), "ERROR_REASON_")));
  details.add_details()->PackFrom(info);
  google::rpc::BadRequest bad_request;
  auto* violation = bad_request.add_field_violations();
  violation->set_field(std::string(field));
  violation->set_description(std::string(description));
  details.add_details()->PackFrom(bad_request);
  result.SetPayload(kDetailsUrl, absl::Cord(details.SerializeAsString()));
  return result;
}

}  // namespace dime
