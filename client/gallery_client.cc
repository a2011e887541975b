#include "client/gallery_client.h"

#include "index/status_macros.h"

namespace dime {

absl::StatusOr<v1::DeleteItemsResponse> GalleryClient::DeleteItems(
    const v1::DeleteItemsRequest& request, std::optional<absl::Duration> deadline) const {
  v1::DeleteItemsResponse response;
  RETURN_IF_ERROR(
      client_.Call(deadline, /*wait_for_ready=*/false, [&](grpc::ClientContext* context) {
        return stub_->DeleteItems(context, request, &response);
      }));
  return response;
}

absl::StatusOr<v1::Item> GalleryClient::GetItem(const v1::GetItemRequest& request,
                                                std::optional<absl::Duration> deadline) const {
  v1::Item response;
  RETURN_IF_ERROR(client_.Call(
      deadline, /*wait_for_ready=*/false,
      [&](grpc::ClientContext* context) { return stub_->GetItem(context, request, &response); }));
  return response;
}

absl::StatusOr<v1::ListItemsResponse> GalleryClient::ListItems(
    const v1::ListItemsRequest& request, std::optional<absl::Duration> deadline) const {
  v1::ListItemsResponse response;
  RETURN_IF_ERROR(client_.Call(
      deadline, /*wait_for_ready=*/false,
      [&](grpc::ClientContext* context) { return stub_->ListItems(context, request, &response); }));
  return response;
}

absl::StatusOr<v1::GetStatsResponse> GalleryClient::GetStats(
    std::optional<absl::Duration> deadline) const {
  v1::GetStatsResponse response;
  RETURN_IF_ERROR(
      client_.Call(deadline, /*wait_for_ready=*/false, [&](grpc::ClientContext* context) {
        return stub_->GetStats(context, v1::GetStatsRequest(), &response);
      }));
  return response;
}

absl::StatusOr<v1::CreateSnapshotResponse> GalleryClient::CreateSnapshot(
    const v1::CreateSnapshotRequest& request, std::optional<absl::Duration> deadline) const {
  v1::CreateSnapshotResponse response;
  RETURN_IF_ERROR(
      client_.Call(deadline, /*wait_for_ready=*/false, [&](grpc::ClientContext* context) {
        return stub_->CreateSnapshot(context, request, &response);
      }));
  return response;
}

}  // namespace dime
