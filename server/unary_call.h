#ifndef DIME_SERVER_UNARY_CALL_H_
#define DIME_SERVER_UNARY_CALL_H_

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/support/byte_buffer.h"
#include "model/call_context.h"
#include "server/call_ledger.h"
#include "server/call_record.h"
#include "server/caller.h"
#include "server/live_calls.h"
#include "server/worker_pool.h"

namespace dime {

// One call with one answer, from admission until gRPC has done with it, whatever the method: what a
// service does of its own comes as a function. A full queue is told at once with the time after
// which to try again (RetryInfo, and the trailer grpc-retry-pushback-ms that gRPC's own retries
// obey).
// Deletes itself. One thread at a time works on it: the reaction, then a worker, or the reaction's
// thread alone where the workers are idle; OnCancel() may come at any time and touches what
// is atomic alone. Its parts must outlive it.
class UnaryCall final : public grpc::ServerUnaryReactor {
 public:
  struct Parts {
    CallLedger* ledger;
    WorkerPool* workers;
    LiveCalls* live_calls;
    CallRecord::Parts record;
  };

  UnaryCall(const Parts& parts, RpcMethod method, grpc::CallbackServerContext* context,
            const grpc::ByteBuffer* request, grpc::ByteBuffer* response);

  // Ends the call, and is false, if the server is closing, or if the caller may not call the method
  // or has called too often: to be asked before the request is looked at, so that strangers learn
  // nothing of it.
  bool Open();
  // The call counts for so many more, as a batch does.
  void CountFor(int more) { record_.CountFor(more); }
  // Ends the call, and is false, if the request is wrong.
  bool Admit(const absl::Status& request);
  // Has a worker do `work`, which must end the call; ends it at once if there is no room. A lone
  // interactive call's is done here and now, which saves waking a worker and, for the answer,
  // another of gRPC's threads. To be called by the reaction; nothing of the call may be touched
  // afterwards.
  void Schedule(std::function<void()> work, Priority priority = Priority::kInteractive);

  absl::Duration Elapsed() const { return record_.Elapsed(); }
  // How a search went that will be answered, or the queries of a batch.
  void Searched(SearchReport search) { record_.Searched(std::move(search)); }
  void Searched(std::vector<std::optional<SearchReport>> batch) {
    record_.Searched(std::move(batch));
  }

  // The call's last act: gRPC may delete this object before it returns.
  void End(const absl::Status& status);
  template <typename Response>
  void Answer(const absl::StatusOr<Response>& response) {
    response.ok() ? AnswerWith(*response) : End(response.status());
  }
  template <typename Response>
  void AnswerWith(const Response& response) {
    End(Serialize(response));
  }

  const CallContext& context() const { return context_; }
  const Caller& caller() const { return caller_; }

  void OnCancel() override;
  void OnDone() override;
  // gRPC's own, for reactions that do next to nothing: OnDone() and OnCancel() come on whatever
  // thread gRPC is on, as its DefaultReactor()'s do. Otherwise each call wakes a thread of gRPC's
  // executor for OnDone() alone, a tenth of what a lone caller's costs (benchmarks/README.md).
  bool InternalInlineable() override { return true; }

 private:
  template <typename Response>
  absl::Status Serialize(const Response& message) {
    bool own_buffer;
    return FromSerialization(
        grpc::SerializationTraits<Response>::Serialize(message, &response_, &own_buffer));
  }
  static absl::Status FromSerialization(const grpc::Status& status);

  const Parts parts_;
  grpc::ByteBuffer& response_;
  CallRecord record_;
  const Caller caller_;
  CallContext context_;
  const CallLedger::Entry entry_;
  std::atomic<bool> at_deadline_{false};  // it was cancelled because its deadline came
};

}  // namespace dime

#endif  // DIME_SERVER_UNARY_CALL_H_
