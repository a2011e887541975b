#include "server/diagnostics_service.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/error_details.h"
#include "server/proto_values.h"
#include "server/request_parser.h"

namespace dime {
namespace {

// The message that was kept; false, with the field left out, where it was no message at all.
bool WriteRequest(const CallReport& call, v1::SlowRequest& written) {
  const auto parse = [&call](google::protobuf::Message& message) {
    return ParseMessage(call.request, static_cast<int64_t>(call.request.Length()), message).ok();
  };
  switch (call.method) {
    case RpcMethod::kSearchImages:
      return parse(*written.mutable_search_images());
    case RpcMethod::kSearchCaptions:
      return parse(*written.mutable_search_captions());
    case RpcMethod::kBatchSearchImages:
      return parse(*written.mutable_batch_search_images());
    case RpcMethod::kBatchSearchCaptions:
      return parse(*written.mutable_batch_search_captions());
    case RpcMethod::kExplainPair:
      return parse(*written.mutable_explain_pair());
    default:
      return false;
  }
}

absl::Status Check(const v1::ListSlowRequestsRequest& request) {
  if (request.max_results() >= 0) return absl::OkStatus();
  return InvalidRequestError(std::vector<FieldViolation>{
      {"max_results", v1::ERROR_REASON_VALUE_OUT_OF_RANGE,
       absl::StrCat("must not be negative, got ", request.max_results())}});
}

}  // namespace

v1::SlowRequest WriteSlowRequest(const CallReport& call, bool with_request) {
  v1::SlowRequest written;
  written.set_request_id(call.request_id);
  written.set_trace_id(call.span.trace_id);
  written.set_method(std::string(RpcMethodName(call.method)));
  written.set_client(call.client);
  *written.mutable_start_time() = ToProtoTimestamp(call.start);
  *written.mutable_duration() = ToProtoDuration(call.duration);
  written.set_code(static_cast<int>(call.code));
  written.set_reason(call.reason);
  written.set_message(call.message);
  if (call.search.has_value()) *written.mutable_stats() = call.search->stats;
  written.set_request_bytes(call.request_bytes);
  const bool kept = static_cast<int64_t>(call.request.Length()) == call.request_bytes;
  if (with_request && kept && !WriteRequest(call, written)) written.clear_request();
  return written;
}

grpc::ServerUnaryReactor* DiagnosticsService::ListSlowRequests(grpc::CallbackServerContext* context,
                                                               const grpc::ByteBuffer* request,
                                                               grpc::ByteBuffer* response) {
  auto* call = new UnaryCall(parts_.call, RpcMethod::kListSlowRequests, context, request, response);
  if (!call->Open()) return call;
  const auto parsed = std::make_shared<v1::ListSlowRequestsRequest>();
  absl::Status status = ParseMessage(*request, parts_.max_request_bytes, *parsed);
  if (status.ok()) status = Check(*parsed);
  if (!call->Admit(status)) return call;
  call->Schedule([this, call, parsed] {
    v1::ListSlowRequestsResponse listed;
    listed.set_capacity(parts_.slow->options().capacity);
    if (listed.capacity() > 0) {
      *listed.mutable_threshold() = ToProtoDuration(parts_.slow->options().threshold);
    }
    for (const std::shared_ptr<const CallReport>& slow : parts_.slow->List()) {
      if (!parsed->request_id().empty() && parsed->request_id() != slow->request_id) continue;
      *listed.add_slow_requests() = WriteSlowRequest(*slow, parsed->with_requests());
      if (listed.slow_requests_size() == parsed->max_results()) break;
    }
    call->Answer(absl::StatusOr<v1::ListSlowRequestsResponse>(std::move(listed)));
  });
  return call;
}

}  // namespace dime
