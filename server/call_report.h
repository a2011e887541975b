#ifndef DIME_SERVER_CALL_REPORT_H_
#define DIME_SERVER_CALL_REPORT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "dime/v1/retrieval.pb.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/rpc_method.h"
#include "server/trace_context.h"

namespace dime {

// What is known of a search that was answered, alone or in a batch. A value.
struct SearchReport {
  absl::Duration scheduled;  // when, after its call's start, it began to wait for a worker
  v1::SearchStats stats;
  bool degraded = false;  // the answer is less than was asked
};

// What is known of a call once it has ended. A value.
struct CallReport {
  RpcMethod method = RpcMethod::kGetInfo;
  std::string request_id;
  TraceContext span;
  std::string client;  // see Caller
  absl::Time start;
  absl::Duration duration;
  // As the caller was told.
  absl::StatusCode code = absl::StatusCode::kOk;
  v1::ErrorReason reason = v1::ERROR_REASON_UNSPECIFIED;
  std::string message;
  std::optional<SearchReport> search;  // of a search, if it was answered
  // Of a batch that was answered, its queries in their order; absent are those that were not.
  std::vector<std::optional<SearchReport>> batch;
  std::optional<int64_t> items;  // of an upsert stream, that came
  // The message, sharing its bytes with gRPC's; empty for streams, and where it was not kept.
  grpc::ByteBuffer request;
  int64_t request_bytes = 0;  // its size, if it was asked to be kept
};

// Whether a code means that the server did not do what a right request asked, for want of capacity
// or by a fault: what errors are counted by, in spans and load reports.
inline constexpr bool IsServerFault(absl::StatusCode code) {
  return code == absl::StatusCode::kUnknown || code == absl::StatusCode::kInternal ||
         code == absl::StatusCode::kUnavailable || code == absl::StatusCode::kDataLoss ||
         code == absl::StatusCode::kResourceExhausted ||
         code == absl::StatusCode::kDeadlineExceeded;
}

}  // namespace dime

#endif  // DIME_SERVER_CALL_REPORT_H_
