#include "client/diagnostics_client.h"

#include "index/status_macros.h"

namespace dime {

absl::StatusOr<v1::ListSlowRequestsResponse> DiagnosticsClient::ListSlowRequests(
    const v1::ListSlowRequestsRequest& request, std::optional<absl::Duration> deadline) const {
  v1::ListSlowRequestsResponse response;
  RETURN_IF_ERROR(
      client_.Call(deadline, /*wait_for_ready=*/false, [&](grpc::ClientContext* context) {
        return stub_->ListSlowRequests(context, request, &response);
      }));
  return response;
}

}  // namespace dime
