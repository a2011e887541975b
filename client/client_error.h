#ifndef DIME_CLIENT_CLIENT_ERROR_H_
#define DIME_CLIENT_CLIENT_ERROR_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "dime/v1/retrieval.pb.h"
#include "grpcpp/support/status.h"

namespace dime {

// All that a failed call tells, for programs that do more than show the message: the reason from
// the API's closed list, the fields at fault, how long to wait before trying again.
//
// RetrievalClient returns plain absl::Status; the google.rpc.Status that the server attached
// travels inside as a payload, and FromStatus() reads it. Works for any other status too, whose
// details are then empty. A value type: thread-safe as any value is.
struct ClientError {
  struct FieldViolation {
    std::string field;        // path within the request: "options.top_k"
    std::string description;  // what is wrong, and what is allowed
  };

  absl::StatusCode code = absl::StatusCode::kOk;
  std::string message;

  // From ErrorInfo; empty where there was none, as in errors of gRPC itself.
  std::string reason;  // a name of dime.v1.ErrorReason without its prefix: "TEXT_EMPTY"
  std::string domain;  // "dime.v1"
  std::map<std::string, std::string> metadata;
  // From BadRequest.
  std::vector<FieldViolation> field_violations;
  // From RetryInfo: the server asks to wait so long before the next try.
  std::optional<absl::Duration> retry_delay;
  // From ResourceInfo: what was not found.
  std::string resource_type;
  std::string resource_name;

  // By which the server's logs and traces name the call; empty if no server ended it.
  std::string request_id;

  // Whether the code was chosen by a DIME server (or by this library's own checks of a request),
  // and not by gRPC or a proxy on the way: what tells a server that is starting from none at all.
  bool has_reason() const { return !reason.empty(); }

  static ClientError FromStatus(const absl::Status& status);
};

// The outcome of a call as absl::Status: same code and message, details as a payload that
// ClientError::FromStatus() reads. Details that do not parse are left out.
absl::Status StatusFromGrpc(const grpc::Status& status);

// Notes on an error by what name the server knows the call.
void AttachRequestId(absl::string_view request_id, absl::Status& status);

// An INVALID_ARGUMENT error of the form that the server gives, for a field that need not be sent to
// know that it is wrong.
absl::Status InvalidFieldError(absl::string_view field, absl::string_view description,
                               v1::ErrorReason reason);

}  // namespace dime

#endif  // DIME_CLIENT_CLIENT_ERROR_H_
