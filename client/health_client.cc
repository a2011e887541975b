#include "client/health_client.h"

#include "index/status_macros.h"

namespace dime {

absl::StatusOr<bool> HealthClient::IsServing(const std::string& service,
                                             std::optional<absl::Duration> deadline) const {
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  grpc::health::v1::HealthCheckResponse response;
  RETURN_IF_ERROR(client_.Call(
      deadline, /*wait_for_ready=*/false,
      [&](grpc::ClientContext* context) { return stub_->Check(context, request, &response); }));
  return response.status() == grpc::health::v1::HealthCheckResponse::SERVING;
}

}  // namespace dime
