#ifndef DIME_SERVER_REQUEST_PARSER_H_
#define DIME_SERVER_REQUEST_PARSER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/message.h"
#include "grpcpp/support/byte_buffer.h"

namespace dime {

// Reads request messages from the wire. gRPC's own parsing would answer a message with invalid
// UTF-8 in a string field by INTERNAL and no word about the field, so the service takes raw bytes
// and parses them here: INVALID_ARGUMENT names each string field at fault (TEXT_NOT_UTF8), or says
// that the bytes are no such message at all (MESSAGE_MALFORMED) or too many (MESSAGE_TOO_LARGE).
// Functions without state.

// Parses into `message`, which is left in an unspecified state on an error. More than `max_bytes`
// are refused unparsed.
absl::Status ParseMessage(const grpc::ByteBuffer& bytes, int64_t max_bytes,
                          google::protobuf::Message& message);

template <typename Request>
absl::StatusOr<Request> ParseRequest(const grpc::ByteBuffer& bytes, int64_t max_bytes) {
  Request request;
  if (absl::Status status = ParseMessage(bytes, max_bytes, request); !status.ok()) return status;
  return request;
}

}  // namespace dime

#endif  // DIME_SERVER_REQUEST_PARSER_H_
