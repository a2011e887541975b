#include "server/request_parser.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/unknown_field_set.h"
#include "grpcpp/support/proto_buffer_reader.h"
#include "grpcpp/support/slice.h"
#include "index/text_lines.h"
#include "server/error_details.h"

namespace dime {
namespace {

using ::google::protobuf::Descriptor;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::UnknownField;
using ::google::protobuf::UnknownFieldSet;

// Bounds on what a hostile message costs: of messages that hold themselves (payloads do) no more
// levels are looked at than the parser takes, and inner ones only while they are small; and an
// error travels in headers of limited size.
constexpr int kMaxLevels = 64;
constexpr int kLevelsOfAnySize = 4;
constexpr size_t kMaxInnerBytes = 1 << 20;
constexpr size_t kMaxViolations = 16;
constexpr size_t kMaxPathBytes = 160;

// The string fields of a message on the wire that do not hold UTF-8, found without the message's
// own parser, which stops at the first and does not tell which it was.
void FindInvalidStrings(const Descriptor& descriptor, const UnknownFieldSet& fields,
                        const std::string& prefix, int level,
                        std::vector<FieldViolation>& violations) {
  for (int i = 0; i < fields.field_count() && violations.size() < kMaxViolations; ++i) {
    const UnknownField& field = fields.field(i);
    const FieldDescriptor* known = descriptor.FindFieldByNumber(field.number());
    if (known == nullptr || field.type() != UnknownField::TYPE_LENGTH_DELIMITED) continue;
    std::string path = absl::StrCat(prefix, known->name());
    if (path.size() > kMaxPathBytes) path = absl::StrCat(path.substr(0, kMaxPathBytes), "...");
    if (known->type() == FieldDescriptor::TYPE_STRING) {
      if (IsValidUtf8(field.length_delimited())) continue;
      violations.push_back(
          {path, v1::ERROR_REASON_TEXT_NOT_UTF8,
           absl::StrCat("must be valid UTF-8, got ", Quoted(field.length_delimited()))});
    } else if (known->type() == FieldDescriptor::TYPE_MESSAGE) {
      if (level >= kMaxLevels) continue;
      if (level >= kLevelsOfAnySize && field.length_delimited().size() > kMaxInnerBytes) continue;
      UnknownFieldSet inner;
      if (!inner.ParseFromString(field.length_delimited())) continue;
      FindInvalidStrings(*known->message_type(), inner, absl::StrCat(path, "."), level + 1,
                         violations);
    }
  }
}

absl::Status WhyNot(const grpc::ByteBuffer& bytes, const Descriptor& descriptor) {
  std::vector<FieldViolation> violations;
  grpc::Slice whole;
  UnknownFieldSet fields;
  if (bytes.DumpToSingleSlice(&whole).ok() &&
      fields.ParseFromArray(whole.begin(), static_cast<int>(whole.size()))) {
    FindInvalidStrings(descriptor, fields, "", 0, violations);
  }
  if (violations.empty()) {
    violations.push_back({"", v1::ERROR_REASON_MESSAGE_MALFORMED,
                          absl::StrCat("the ", bytes.Length(), " bytes received are no ",
                                       descriptor.full_name(), " message")});
  }
  return InvalidRequestError(violations);
}

}  // namespace

absl::Status ParseMessage(const grpc::ByteBuffer& bytes, int64_t max_bytes,
                          google::protobuf::Message& message) {
  if (static_cast<int64_t>(bytes.Length()) > max_bytes) {
    return InvalidRequestError(std::vector<FieldViolation>{
        {"", v1::ERROR_REASON_MESSAGE_TOO_LARGE,
         absl::StrCat("the message has ", bytes.Length(), " bytes, the server takes at most ",
                      max_bytes,
                      " (limits.max_request_bytes of GetInfo; the server's flag "
                      "--max-request-bytes)")}});
  }
  grpc::ByteBuffer shared(bytes);  // by reference count
  grpc::ProtoBufferReader reader(&shared);
  if (reader.status().ok() && message.ParseFromZeroCopyStream(&reader)) return absl::OkStatus();
  return WhyNot(bytes, *message.GetDescriptor());
}

}  // namespace dime
