#include "server/unary_call.h"

#include <atomic>

#include "absl/strings/str_cat.h"

namespace dime {
namespace {

absl::Time DeadlineOf(const grpc::CallbackServerContext& context) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return absl::InfiniteFuture();
  return absl::FromChrono(deadline);
}

// Where a request does not say.
Priority PriorityOf(RpcMethod method) {
  return method == RpcMethod::kBatchSearchImages || method == RpcMethod::kBatchSearchCaptions
             ? Priority::kBulk
             : Priority::kInteractive;
}

// The thread of gRPC's that is on a reaction, if it may be kept for as long as a call takes. gRPC
// has two of them for all of a process's servers where there are up to four processors, and
// whatever comes over the network waits for one: so that one call at most may keep one.
class TransportThread {
 public:
  TransportThread() : mine_(!kept.exchange(true)) {}
  ~TransportThread() {
    if (mine_) kept = false;
  }
  TransportThread(const TransportThread&) = delete;
  TransportThread& operator=(const TransportThread&) = delete;

  bool mine() const { return mine_; }

 private:
  static std::atomic<bool> kept;
  const bool mine_;
};
std::atomic<bool> TransportThread::kept{false};

}  // namespace

UnaryCall::UnaryCall(const Parts& parts, RpcMethod method, grpc::CallbackServerContext* context,
                     const grpc::ByteBuffer* request, grpc::ByteBuffer* response)
    : parts_(parts),
      response_(*response),
      record_(parts.record, method, context, *request),
      caller_({.client = record_.client(),
               .deadline = DeadlineOf(*context),
               .priority = PriorityOf(method)}),
      context_(caller_.deadline, caller_.priority,
               [this, context] {
                 // OnCancel() comes after the reaction has returned.
                 if (!context->IsCancelled()) return false;
                 OnCancel();
                 return true;
               }),
      entry_(parts.ledger->Begin()) {
  parts_.live_calls->Started();
}

bool UnaryCall::Open() {
  return Admit(entry_.admitted ? record_.permission()
                               : absl::UnavailableError("the server is shutting down"));
}

bool UnaryCall::Admit(const absl::Status& request) {
  if (request.ok()) return true;
  End(request);
  return false;
}

void UnaryCall::Schedule(std::function<void()> work, Priority priority) {
  if (priority == Priority::kInteractive) {
    const TransportThread thread;
    if (thread.mine() && parts_.workers->TryRunHere(work)) return;
  }
  if (!parts_.workers->TrySubmit(std::move(work), caller_.client, priority)) {
    End(absl::ResourceExhaustedError("the server's queue of calls is full"));
  }
}

void UnaryCall::End(const absl::Status& status) {
  // An answer that is ready after the deadline reaches nobody.
  const bool late =
      status.ok() ? absl::Now() >= context_.deadline() : absl::IsCancelled(status) && at_deadline_;
  const grpc::Status answer =
      record_.End(late ? absl::DeadlineExceededError("the call's deadline has passed") : status);
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
