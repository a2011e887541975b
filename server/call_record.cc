#include "server/call_record.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/error_details.h"

namespace dime {
namespace {

constexpr size_t kMaxRequestIdBytes = 128;
constexpr int kRequestIdDigits = 32;

std::vector<absl::string_view> Metadata(const grpc::CallbackServerContext& context,
                                        const char* key) {
  std::vector<absl::string_view> values;
  const auto [begin, end] = context.client_metadata().equal_range(key);
  for (auto it = begin; it != end; ++it) values.emplace_back(it->second.data(), it->second.size());
  return values;
}

// Given once, or nothing.
absl::string_view SingleValue(const grpc::CallbackServerContext& context, const char* key) {
  const std::vector<absl::string_view> values = Metadata(context, key);
  return values.size() == 1 ? values.front() : absl::string_view();
}

bool IsRequestId(absl::string_view text) {
  return !text.empty() && text.size() <= kMaxRequestIdBytes &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isalnum(c) || absl::StrContains("-_.:/+=@", c);
         });
}

std::string RequestId(const grpc::CallbackServerContext& context) {
  const absl::string_view given = SingleValue(context, kRequestIdKey);
  return IsRequestId(given) ? std::string(given) : RandomHex(kRequestIdDigits);
}

// A known caller goes by name, whatever the address, which is taken without its port, for a client
// may have several connections: "ipv4:127.0.0.1:40000".
std::string ClientOf(const absl::StatusOr<Principal>& principal, const std::string& peer) {
  return principal.ok() && !principal->name.empty() ? absl::StrCat("name:", principal->name)
                                                    : peer.substr(0, peer.rfind(':'));
}

}  // namespace

CallRecord::CallRecord(const Parts& parts, RpcMethod method, grpc::CallbackServerContext* context,
                       const grpc::ByteBuffer& request)
    : parts_(parts), context_(*context) {
  absl::StatusOr<Principal> principal = Principal();
  if (parts_.access != nullptr) {
    principal = parts_.access->Authorize(Metadata(*context, "authorization"), method);
    if (!principal.ok()) parts_.metrics->CallUnauthorized(principal.status().code());
  }
  report_.method = method;
  report_.request_id = RequestId(*context);
  report_.span = StartSpan(SingleValue(*context, "traceparent"), parts_.observer->trace_rate());
  report_.client = ClientOf(principal, context->peer());
  permission_ = principal.status();
  if (permission_.ok() && parts_.rate != nullptr) permission_ = parts_.rate->Take(report_.client);
  report_.start = absl::Now();
  report_.request = request;  // by reference count
  parts_.metrics->RequestStarted(method);
}

grpc::Status CallRecord::End(const absl::Status& status) {
  const grpc::Status answer = ToGrpcStatus(status, parts_.retry_delay);
  report_.code = static_cast<absl::StatusCode>(answer.error_code());
  report_.duration = stopwatch_.Elapsed();
  if (!answer.ok()) {
    report_.reason = ReasonOf(status);
    report_.message = answer.error_message();
  }
  context_.AddTrailingMetadata(kRequestIdKey, report_.request_id);
  if (report_.code == absl::StatusCode::kResourceExhausted ||
      report_.code == absl::StatusCode::kUnavailable) {
    context_.AddTrailingMetadata(
        "grpc-retry-pushback-ms",
        absl::StrCat(absl::ToInt64Milliseconds(RetryDelayOf(status, parts_.retry_delay))));
  }
  if (parts_.load != nullptr) {
    std::string load = parts_.load->CallEnded(report_.code);
    if (!load.empty()) context_.AddTrailingMetadata(kLoadReportTrailer, std::move(load));
  }
  parts_.metrics->RequestFinished(report_.method, report_.code, report_.duration, report_.reason);
  parts_.observer->Ended(std::move(report_));
  return answer;
}

}  // namespace dime
