#include "server/error_details.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "google/protobuf/any.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/error_details.h"
#include "index/text_lines.h"
#include "server/proto_values.h"

namespace dime {
namespace {

constexpr char kDomain[] = "dime.v1";
constexpr char kReasonPrefix[] = "ERROR_REASON_";
constexpr char kTypeUrlPrefix[] = "type.googleapis.com/";

bool MayBeRetried(absl::StatusCode code) {
  return code == absl::StatusCode::kResourceExhausted || code == absl::StatusCode::kUnavailable;
}

template <typename Detail>
std::string TypeUrl() {
  return absl::StrCat(kTypeUrlPrefix, Detail::descriptor()->full_name());
}

void Attach(const google::protobuf::Message& detail, absl::Status& status) {
  status.SetPayload(absl::StrCat(kTypeUrlPrefix, detail.GetDescriptor()->full_name()),
                    absl::Cord(detail.SerializeAsString()));
}

void AttachReason(v1::ErrorReason reason, absl::Status& status) {
  google::rpc::ErrorInfo info;
  info.set_reason(ReasonName(reason));
  info.set_domain(kDomain);
  Attach(info, status);
}

void AttachRetryDelay(absl::Duration delay, absl::Status& status) {
  google::rpc::RetryInfo retry;
  *retry.mutable_retry_delay() = ToProtoDuration(delay);
  Attach(retry, status);
}

// Makes an error fit for callers: its code and reason are among the published ones.
absl::Status Published(const absl::Status& status) {
  absl::Status published = status;
  // Only the functions of this file mean an error for callers as it is.
  if (status.GetPayload(TypeUrl<google::rpc::ErrorInfo>()).has_value()) return published;
  switch (status.code()) {
    case absl::StatusCode::kResourceExhausted:
      AttachReason(v1::ERROR_REASON_QUEUE_FULL, published);
      return published;
    case absl::StatusCode::kUnavailable:
      AttachReason(v1::ERROR_REASON_UNAVAILABLE, published);
      return published;
    case absl::StatusCode::kDeadlineExceeded:
      AttachReason(v1::ERROR_REASON_DEADLINE_EXCEEDED, published);
      return published;
    case absl::StatusCode::kCancelled:
      AttachReason(v1::ERROR_REASON_CANCELLED, published);
      return published;
    default:
      break;
  }
  published = absl::InternalError(status.message());
  AttachReason(v1::ERROR_REASON_INTERNAL, published);
  return published;
}

}  // namespace

std::string ReasonName(v1::ErrorReason reason) {
  return std::string(absl::StripPrefix(v1::ErrorReason_Name(reason), kReasonPrefix));
}

absl::Status InvalidRequestError(absl::Span<const FieldViolation> violations) {
  google::rpc::BadRequest bad_request;
  for (const FieldViolation& violation : violations) {
    google::rpc::BadRequest::FieldViolation& added = *bad_request.add_field_violations();
    added.set_field(violation.field);
    added.set_description(violation.description);
  }
  absl::Status status = absl::InvalidArgumentError(
      absl::StrJoin(violations, "; ", [](std::string* out, const FieldViolation& violation) {
        absl::StrAppend(out, violation.field, violation.field.empty() ? "" : ": ",
                        violation.description);
      }));
  Attach(bad_request, status);
  AttachReason(violations.front().reason, status);
  return status;
}

absl::Status ItemNotFoundError(Modality modality, absl::string_view id) {
  google::rpc::ResourceInfo resource;
  resource.set_resource_type(std::string(ModalityName(modality)));
  resource.set_resource_name(Quoted(id));
  absl::Status status = absl::NotFoundError(
      absl::StrCat("no ", ModalityName(modality), " of the gallery has the id ", Quoted(id)));
  Attach(resource, status);
  AttachReason(v1::ERROR_REASON_ITEM_NOT_FOUND, status);
  return status;
}

absl::Status GalleryEmptyError(absl::string_view gallery, Modality modality) {
  absl::Status status = absl::FailedPreconditionError(
      absl::StrCat("gallery ", gallery, " holds no ", ModalityName(modality), "s"));
  AttachReason(v1::ERROR_REASON_GALLERY_EMPTY, status);
  return status;
}

absl::Status ReasonedError(absl::StatusCode code, v1::ErrorReason reason,
                           absl::string_view message) {
  absl::Status status(code, message);
  AttachReason(reason, status);
  return status;
}

absl::Status OverloadError(v1::ErrorReason reason, absl::string_view message,
                           absl::Duration retry_delay) {
  absl::Status status = ReasonedError(absl::StatusCode::kResourceExhausted, reason, message);
  AttachRetryDelay(retry_delay, status);
  return status;
}

absl::Status QuotaError(absl::string_view subject, absl::string_view message,
                        absl::Duration retry_delay) {
  absl::Status status = OverloadError(v1::ERROR_REASON_QUOTA_EXCEEDED, message, retry_delay);
  google::rpc::QuotaFailure quota;
  google::rpc::QuotaFailure::Violation& violation = *quota.add_violations();
  violation.set_subject(std::string(subject));
  violation.set_description(std::string(message));
  Attach(quota, status);
  return status;
}

absl::Duration RetryDelayOf(const absl::Status& status, absl::Duration otherwise) {
  google::rpc::RetryInfo retry;
  const absl::optional<absl::Cord> given = status.GetPayload(TypeUrl<google::rpc::RetryInfo>());
  if (!given.has_value() || !retry.ParseFromString(std::string(*given))) return otherwise;
  return absl::Seconds(retry.retry_delay().seconds()) +
         absl::Nanoseconds(retry.retry_delay().nanos());
}

v1::ErrorReason ReasonOf(const absl::Status& status) {
  if (status.ok()) return v1::ERROR_REASON_UNSPECIFIED;
  const absl::Status published = Published(status);
  google::rpc::ErrorInfo info;
  v1::ErrorReason reason = v1::ERROR_REASON_UNSPECIFIED;
  if (info.ParseFromString(std::string(*published.GetPayload(TypeUrl<google::rpc::ErrorInfo>())))) {
    v1::ErrorReason_Parse(absl::StrCat(kReasonPrefix, info.reason()), &reason);
  }
  return reason;
}

v1::Outcome ToOutcome(const absl::Status& status, absl::Duration retry_delay) {
  v1::Outcome outcome;
  if (status.ok()) return outcome;
  const absl::Status published = Published(status);
  outcome.set_code(static_cast<int>(published.code()));
  outcome.set_message(std::string(published.message()));
  outcome.set_reason(ReasonOf(published));
  if (MayBeRetried(published.code())) {
    *outcome.mutable_retry_delay() = ToProtoDuration(RetryDelayOf(published, retry_delay));
  }
  return outcome;
}

grpc::Status ToGrpcStatus(const absl::Status& status, absl::Duration retry_delay) {
  if (status.ok()) return grpc::Status::OK;
  absl::Status published = Published(status);
  if (MayBeRetried(published.code())) {
    AttachRetryDelay(RetryDelayOf(published, retry_delay), published);
  }
  google::rpc::Status rpc;
  rpc.set_code(static_cast<int>(published.code()));
  rpc.set_message(std::string(published.message()));
  published.ForEachPayload([&rpc](absl::string_view type_url, const absl::Cord& payload) {
    google::protobuf::Any& detail = *rpc.add_details();
    detail.set_type_url(std::string(type_url));
    detail.set_value(std::string(payload));
  });
  grpc::Status result;
  const grpc::Status set = grpc::SetErrorDetails(rpc, &result);
  return set.ok() ? result : set;
}

}  // namespace dime
