#ifndef DIME_SERVER_ERROR_DETAILS_H_
#define DIME_SERVER_ERROR_DETAILS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "dime/v1/retrieval.pb.h"
#include "grpcpp/support/status.h"
#include "index/features.h"

namespace dime {

// Errors as callers get them: google.rpc details are carried through the server as payloads of
// absl::Status, and put onto the wire here. All functions are pure.

// What is wrong with one field of a request.
struct FieldViolation {
  std::string field;  // path within the request, such as "options.top_k"
  v1::ErrorReason reason;
  std::string description;  // what is allowed, and what was given
};

// INVALID_ARGUMENT with a BadRequest naming every field at fault (at least one) and an ErrorInfo
// with the first one's reason.
absl::Status InvalidRequestError(absl::Span<const FieldViolation> violations);

// NOT_FOUND with a ResourceInfo and an ErrorInfo.
absl::Status ItemNotFoundError(Modality modality, absl::string_view id);

// FAILED_PRECONDITION with an ErrorInfo: nothing to search.
absl::Status GalleryEmptyError(absl::string_view gallery, Modality modality);

// An error with an ErrorInfo of this reason, whose code must be the one that retrieval.proto says.
absl::Status ReasonedError(absl::StatusCode code, v1::ErrorReason reason,
                           absl::string_view message);

// RESOURCE_EXHAUSTED with an ErrorInfo of this reason: the server is not up to it now, but may be
// in `retry_delay`.
absl::Status OverloadError(v1::ErrorReason reason, absl::string_view message,
                           absl::Duration retry_delay);

// RESOURCE_EXHAUSTED with QUOTA_EXCEEDED and a QuotaFailure: `subject` has used up what it may
// have.
absl::Status QuotaError(absl::string_view subject, absl::string_view message,
                        absl::Duration retry_delay);

// What RESOURCE_EXHAUSTED or UNAVAILABLE says of when to try again, if it does.
absl::Duration RetryDelayOf(const absl::Status& status, absl::Duration otherwise);

// The reason that a status made by the functions above carries, else that which the wire would
// give.
v1::ErrorReason ReasonOf(const absl::Status& status);

// As callers read it in an ErrorInfo: "TEXT_EMPTY".
std::string ReasonName(v1::ErrorReason reason);

// The status for the wire. The result's code is one of those that retrieval.proto names: errors
// that no code of this server meant for callers become INTERNAL. Every error gets an ErrorInfo;
// RESOURCE_EXHAUSTED and UNAVAILABLE also a RetryInfo, with `retry_delay` if the status has none.
grpc::Status ToGrpcStatus(const absl::Status& status, absl::Duration retry_delay);

// The same for one part of a call.
v1::Outcome ToOutcome(const absl::Status& status, absl::Duration retry_delay);

}  // namespace dime

#endif  // DIME_SERVER_ERROR_DETAILS_H_
