#ifndef DIME_TESTS_FAKES_ERROR_DETAILS_H_
#define DIME_TESTS_FAKES_ERROR_DETAILS_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/error_details.h"
#include "grpcpp/support/status.h"

namespace dime {

// The details of an error, as a caller reads them off the wire.
struct ErrorDetails {
  std::string reason;
  std::string domain;
  std::vector<std::pair<std::string, std::string>> violations;  // field, description
  std::optional<int64_t> retry_delay_ms;
  std::string resource_type;
  std::string resource_name;

  std::vector<std::string> Fields() const {
    std::vector<std::string> fields;
    for (const auto& [field, description] : violations) fields.push_back(field);
    return fields;
  }
};

inline ErrorDetails ParseErrorDetails(const grpc::Status& status) {
  ErrorDetails parsed;
  google::rpc::Status rpc;
  if (!grpc::ExtractErrorDetails(status, &rpc).ok()) return parsed;
  for (const google::protobuf::Any& any : rpc.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest bad_request;
    google::rpc::RetryInfo retry;
    google::rpc::ResourceInfo resource;
    if (any.UnpackTo(&info)) {
      parsed.reason = info.reason();
      parsed.domain = info.domain();
    } else if (any.UnpackTo(&bad_request)) {
      for (const auto& violation : bad_request.field_violations()) {
        parsed.violations.emplace_back(violation.field(), violation.description());
      }
    } else if (any.UnpackTo(&retry)) {
      parsed.retry_delay_ms =
          retry.retry_delay().seconds() * 1000 + retry.retry_delay().nanos() / 1000000;
    } else if (any.UnpackTo(&resource)) {
      parsed.resource_type = resource.resource_type();
      parsed.resource_name = resource.resource_name();
    }
  }
  return parsed;
}

}  // namespace dime

#endif  // DIME_TESTS_FAKES_ERROR_DETAILS_H_
