#ifndef DIME_SERVER_RPC_METHOD_H_
#define DIME_SERVER_RPC_METHOD_H_

#include "absl/strings/string_view.h"
#include "index/features.h"

namespace dime {

// The services' methods, as metrics label them and access is given.
enum class RpcMethod {
  // RetrievalService's.
  kSearchImages,
  kSearchCaptions,
  kBatchSearchImages,
  kBatchSearchCaptions,
  kExplainPair,
  kGetInfo,
  // GalleryService's.
  kUpsertImages,
  kUpsertCaptions,
  kDeleteItems,
  kGetItem,
  kListItems,
  kGetStats,
  kCreateSnapshot,
  // DiagnosticsService's.
  kListSlowRequests,
};
inline constexpr int kNumRpcMethods = 14;
absl::string_view RpcMethodName(RpcMethod method);   // "SearchImages", ...
absl::string_view RpcServiceName(RpcMethod method);  // "dime.v1.RetrievalService", ...
inline constexpr int kNumSearchMethods = 2;          // the first two

// The method that finds items of this kind.
inline constexpr RpcMethod MethodFor(Modality target) {
  return target == Modality::kImage ? RpcMethod::kSearchImages : RpcMethod::kSearchCaptions;
}

}  // namespace dime

#endif  // DIME_SERVER_RPC_METHOD_H_
