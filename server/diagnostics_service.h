#ifndef DIME_SERVER_DIAGNOSTICS_SERVICE_H_
#define DIME_SERVER_DIAGNOSTICS_SERVICE_H_

#include <cstdint>

#include "dime/v1/diagnostics.grpc.pb.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/slow_calls.h"
#include "server/unary_call.h"

namespace dime {

// A slow call as it is listed, with its request only if that is wanted.
v1::SlowRequest WriteSlowRequest(const CallReport& call, bool with_request);

// dime.v1.DiagnosticsService over gRPC's callback API: what the server remembers of its own calls.
// Requests come as bytes: see request_parser.h.
// Thread-safe. Its parts must outlive it, and it every call.
class DiagnosticsService final
    : public v1::DiagnosticsService::WithRawCallbackMethod_ListSlowRequests<
          v1::DiagnosticsService::Service> {
 public:
  struct Parts {
    UnaryCall::Parts call;
    const SlowCalls* slow;
    int64_t max_request_bytes;
  };

  explicit DiagnosticsService(const Parts& parts) : parts_(parts) {}

  grpc::ServerUnaryReactor* ListSlowRequests(grpc::CallbackServerContext* context,
                                             const grpc::ByteBuffer* request,
                                             grpc::ByteBuffer* response) override;

 private:
  const Parts parts_;
};

}  // namespace dime

#endif  // DIME_SERVER_DIAGNOSTICS_SERVICE_H_
