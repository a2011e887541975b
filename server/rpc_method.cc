#include "server/rpc_method.h"

namespace dime {

absl::string_view RpcMethodName(RpcMethod method) {
  switch (method) {
    case RpcMethod::kSearchImages:
      return "SearchImages";
    case RpcMethod::kSearchCaptions:
      return "SearchCaptions";
    case RpcMethod::kBatchSearchImages:
      return "BatchSearchImages";
    case RpcMethod::kBatchSearchCaptions:
      return "BatchSearchCaptions";
    case RpcMethod::kExplainPair:
      return "ExplainPair";
    case RpcMethod::kGetInfo:
      return "GetInfo";
    case RpcMethod::kUpsertImages:
      return "UpsertImages";
    case RpcMethod::kUpsertCaptions:
      return "UpsertCaptions";
    case RpcMethod::kDeleteItems:
      return "DeleteItems";
    case RpcMethod::kGetItem:
      return "GetItem";
    case RpcMethod::kListItems:
      return "ListItems";
    case RpcMethod::kGetStats:
      return "GetStats";
    case RpcMethod::kCreateSnapshot:
      return "CreateSnapshot";
    case RpcMethod::kListSlowRequests:
      return "ListSlowRequests";
  }
  return "";
}

absl::string_view RpcServiceName(RpcMethod method) {
  if (method >= RpcMethod::kListSlowRequests) return "dime.v1.DiagnosticsService";
  if (method >= RpcMethod::kUpsertImages) return "dime.v1.GalleryService";
  return "dime.v1.RetrievalService";
}

}  // namespace dime
