#ifndef DIME_CLIENT_HEALTH_CLIENT_H_
#define DIME_CLIENT_HEALTH_CLIENT_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/retrieval_client.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace dime {

// A client of a server's health service, which asks for no token. Calls are made, retried and
// reported as RetrievalClient's. Thread-safe. The client must outlive it.
class HealthClient {
 public:
  explicit HealthClient(const RetrievalClient* client)
      : client_(*client), stub_(grpc::health::v1::Health::NewStub(client->channel())) {}

  // Whether the service serves: "dime.v1.RetrievalService" does once searches succeed and until the
  // server drains, "liveness" as long as no launch hangs. NOT_FOUND if the server does not know it,
  // UNAVAILABLE if no server answers. `deadline` counts from now; without it, the client's holds.
  absl::StatusOr<bool> IsServing(const std::string& service,
                                 std::optional<absl::Duration> deadline = std::nullopt) const;

 private:
  const RetrievalClient& client_;
  const std::unique_ptr<grpc::health::v1::Health::Stub> stub_;
};

}  // namespace dime

#endif  // DIME_CLIENT_HEALTH_CLIENT_H_
