#include "server/unary_call.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/error_details.h"

namespace dime {
namespace {

absl::Time DeadlineOf(const grpc::CallbackServerContext& context) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return absl::InfiniteFuture();
  return absl::FromChrono(deadline);
}

// "ipv4:127.0.0.1:40000" without the port, for a client may have several connections.
std::string ClientOf(const std::string& peer) { return peer.substr(0, peer.rfind(':')); }

// A known caller goes by name, whatever the address.
std::string ClientOf(const absl::StatusOr<AccessControl::Principal>& principal,
                     const std::string& peer) {
  return principal.ok() && !principal->name.empty() ? absl::StrCat("name:", principal->name)
                                                    : ClientOf(peer);
}

// Where a request does not say.
Priority PriorityOf(RpcMethod method) {
  return method == RpcMethod::kBatchSearchImages || method == RpcMethod::kBatchSearchCaptions
             ? Priority::kBulk
             : Priority::kInteractive;
}

}  // namespace

absl::StatusOr<AccessControl::Principal> AuthorizeCall(AccessControl* access, Metrics& metrics,
                                                       const grpc::CallbackServerContext& context,
                                                       RpcMethod method) {
  if (access == nullptr) return AccessControl::Principal();
  std::vector<absl::string_view> given;
  const auto [begin, end] = context.client_metadata().equal_range("authorization");
  for (auto it = begin; it != end; ++it) given.emplace_back(it->second.data(), it->second.size());
  absl::StatusOr<AccessControl::Principal> principal = access->Authorize(given, method);
  if (!principal.ok()) metrics.CallUnauthorized(principal.status().code());
  return principal;
}

UnaryCall::UnaryCall(const Parts& parts, RpcMethod method, grpc::CallbackServerContext* context,
                     grpc::ByteBuffer* response)
    : parts_(parts),
      method_(method),
      server_context_(*context),
      response_(*response),
      principal_(AuthorizeCall(parts.access, *parts.metrics, *context, method)),
      caller_({.client = ClientOf(principal_, context->peer()),
               .deadline = DeadlineOf(*context),
               .priority = PriorityOf(method)}),
      context_(caller_.deadline, caller_.priority),
      entry_(parts.ledger->Begin()) {
  parts_.metrics->RequestStarted(method_);
  parts_.live_calls->Started();
}

bool UnaryCall::Open() {
  if (entry_.admitted && principal_.ok()) return true;
  End(principal_.ok() ? absl::UnavailableError("the server is shutting down")
                      : principal_.status());
  return false;
}

bool UnaryCall::Admit(const absl::Status& request) {
  if (request.ok()) return true;
  End(request);
  return false;
}

void UnaryCall::Schedule(std::function<void()> work, Priority priority) {
  if (!parts_.workers->TrySubmit(std::move(work), caller_.client, priority)) {
    End(absl::ResourceExhaustedError("the server's queue of calls is full"));
  }
}

void UnaryCall::End(const absl::Status& status) {
  const bool late = absl::IsCancelled(status) && at_deadline_;
  const grpc::Status answer =
      ToGrpcStatus(late ? absl::DeadlineExceededError("the call's deadline has passed") : status,
                   parts_.retry_delay);
  if (answer.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED ||
      answer.error_code() == grpc::StatusCode::UNAVAILABLE) {
    server_context_.AddTrailingMetadata(
        "grpc-retry-pushback-ms",
        absl::StrCat(absl::ToInt64Milliseconds(RetryDelayOf(status, parts_.retry_delay))));
  }
  parts_.metrics->RequestFinished(method_, static_cast<absl::StatusCode>(answer.error_code()),
                                  stopwatch_.Elapsed(), ReasonOf(status));
  parts_.live_calls->Ended();
  Finish(answer);
}

void UnaryCall::OnCancel() {
  // A call is also cancelled at its deadline, and by a client at its own idea of that, which is
  // earlier by the way of the network.
  constexpr absl::Duration kTolerance = absl::Milliseconds(50);
  if (context_.deadline() - absl::Now() < kTolerance) at_deadline_ = true;
  context_.Cancel();
}

void UnaryCall::OnDone() {
  CallLedger& ledger = *parts_.ledger;
  const CallLedger::Entry entry = entry_;
  delete this;
  ledger.End(entry);
}

absl::Status UnaryCall::FromSerialization(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("the answer could not be serialized: ", status.error_message()));
}

}  // namespace dime
