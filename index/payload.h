#ifndef DIME_INDEX_PAYLOAD_H_
#define DIME_INDEX_PAYLOAD_H_

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace dime {

// What a user attaches to an item, to filter by and to get back: an object of fields, or null where
// there is none. As in google.protobuf.Struct every number is a double.
using Payload = nlohmann::json;

inline constexpr int kMaxPayloadDepth = 16;                  // objects and lists within one another
inline constexpr size_t kMaxPayloadBytes = size_t{1} << 16;  // serialised

// The payload with every number a double. INVALID_ARGUMENT, naming the field where there is one,
// for what is neither an object nor null, for an empty name, text that is no UTF-8, a number that
// is not finite, more than kMaxPayloadDepth levels or kMaxPayloadBytes.
absl::StatusOr<Payload> CheckPayload(Payload payload);

// A payload as bytes (CBOR) for a store, and back; null is the empty string. INVALID_ARGUMENT for
// bytes that are no payload.
std::string SerializePayload(const Payload& payload);
absl::StatusOr<Payload> ParsePayload(absl::string_view bytes);

// Out of JSON text, checked as above.
absl::StatusOr<Payload> PayloadFromJson(absl::string_view text);

}  // namespace dime

#endif  // DIME_INDEX_PAYLOAD_H_
