#ifndef DIME_SERVER_CALL_RECORD_H_
#define DIME_SERVER_CALL_RECORD_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/access_control.h"
#include "server/call_observer.h"
#include "server/call_report.h"
#include "server/load_reporter.h"
#include "server/metrics.h"
#include "server/pipeline/stopwatch.h"
#include "server/rate_limiter.h"

namespace dime {

// The metadata by which callers name a call, and are told its name in the answer's trailers: what
// logs, spans and errors are found by. 1 to 128 letters, digits and "-_.:/+=@"; without such a name
// the call is given one.
inline constexpr char kRequestIdKey[] = "x-request-id";

// What the server knows of one call from its arrival to its answer, of whatever kind it is: who
// makes it, by what name, in what trace, and how it went. The end is where all that is told to
// those whom it concerns: the caller by trailers, and metrics, log, traces and load reports.
// One thread at a time. Its parts and the context must outlive it.
class CallRecord {
 public:
  struct Parts {
    Metrics* metrics;
    CallObserver* observer;
    LoadReporter* load = nullptr;                          // null: callers are told of no load
    AccessControl* access = nullptr;                       // null: whoever comes may call
    RateLimiter* rate = nullptr;                           // null: as often as they like
    absl::Duration retry_delay = absl::Milliseconds(250);  // told with RESOURCE_EXHAUSTED etc.
  };

  // A call has arrived. `request`: its message; empty for a stream.
  CallRecord(const Parts& parts, RpcMethod method, grpc::CallbackServerContext* context,
             const grpc::ByteBuffer& request);
  CallRecord(const CallRecord&) = delete;
  CallRecord& operator=(const CallRecord&) = delete;

  // Whether the caller may make the call: UNAUTHENTICATED, PERMISSION_DENIED, or RESOURCE_EXHAUSTED
  // for a client that calls too often.
  const absl::Status& permission() const { return permission_; }
  // The call counts for so many more of the client's, as a batch does.
  void CountFor(int more) {
    if (parts_.rate != nullptr) parts_.rate->Charge(report_.client, more);
  }
  // Tells callers apart, see Caller.
  const std::string& client() const { return report_.client; }

  // Since the call arrived.
  absl::Duration Elapsed() const { return stopwatch_.Elapsed(); }
  // How a search went that will be answered, or the queries of a batch.
  void Searched(SearchReport search) { report_.search = std::move(search); }
  void Searched(std::vector<std::optional<SearchReport>> batch) {
    report_.batch = std::move(batch);
  }
  // Of a stream: the items that came.
  void SetItems(int64_t items) { report_.items = items; }

  // The call ends so: what is to be handed to gRPC right after, so that whoever has an answer finds
  // what is logged, traced and kept of it. Once.
  grpc::Status End(const absl::Status& status);

 private:
  const Parts parts_;
  grpc::CallbackServerContext& context_;
  absl::Status permission_;
  CallReport report_;
  const Stopwatch stopwatch_;
};

}  // namespace dime

#endif  // DIME_SERVER_CALL_RECORD_H_
