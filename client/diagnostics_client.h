#ifndef DIME_CLIENT_DIAGNOSTICS_CLIENT_H_
#define DIME_CLIENT_DIAGNOSTICS_CLIENT_H_

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/retrieval_client.h"
#include "dime/v1/diagnostics.grpc.pb.h"

namespace dime {

// A client of what one DIME server remembers of its calls: dime.v1.DiagnosticsService of
// diagnostics.proto. Calls are made, retried and reported as RetrievalClient's. Thread-safe. The
// client must outlive it.
class DiagnosticsClient {
 public:
  explicit DiagnosticsClient(const RetrievalClient* client)
      : client_(*client), stub_(v1::DiagnosticsService::NewStub(client->channel())) {}

  // Errors: those of retrieval.proto; also UNAVAILABLE if no server answers. `deadline` counts from
  // now; without it, the client's own holds.
  absl::StatusOr<v1::ListSlowRequestsResponse> ListSlowRequests(
      const v1::ListSlowRequestsRequest& request,
      std::optional<absl::Duration> deadline = std::nullopt) const;

 private:
  const RetrievalClient& client_;
  const std::unique_ptr<v1::DiagnosticsService::Stub> stub_;
};

}  // namespace dime

#endif  // DIME_CLIENT_DIAGNOSTICS_CLIENT_H_
