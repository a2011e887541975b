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

// Told what a payload holds, in order. Texts and names are gone after the call.
class PayloadVisitor {
 public:
  virtual ~PayloadVisitor() = default;
  virtual void Null() = 0;
  virtual void Bool(bool value) = 0;
  virtual void Number(double value) = 0;
  virtual void Text(absl::string_view value) = 0;
  virtual void StartObject() = 0;
  virtual void Name(absl::string_view name) = 0;  // of the field that comes next
  virtual void EndObject() = 0;
  virtual void StartList() = 0;
  virtual void EndList() = 0;
};
// Visits a payload that CheckPayload() gave, but for null, of which there is nothing to tell.
void VisitPayload(const Payload& payload, PayloadVisitor& visitor);
// Visits what SerializePayload() wrote of an object, without making a Payload. INVALID_ARGUMENT as
// ParsePayload(), and for the empty string; what was visited by then is to be thrown away.
absl::Status VisitStoredPayload(absl::string_view bytes, PayloadVisitor& visitor);

// Out of JSON text, checked as above.
absl::StatusOr<Payload> PayloadFromJson(absl::string_view text);

}  // namespace dime

#endif  // DIME_INDEX_PAYLOAD_H_
