#include "index/payload.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "index/status_macros.h"
#include "index/text_lines.h"

namespace dime {
namespace {

// Lets the parser go on as long as objects and lists are not deeper than a payload's.
struct DepthGuard : nlohmann::json_sax<Payload> {
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool key(string_t&) override { return true; }
  bool start_object(size_t) override { return ++depth <= kMaxPayloadDepth + 1; }
  bool end_object() override { return --depth >= 0; }
  bool start_array(size_t) override { return ++depth <= kMaxPayloadDepth + 1; }
  bool end_array() override { return --depth >= 0; }
  bool parse_error(size_t, const std::string&, const Payload::exception&) override { return false; }
  int depth = 0;
};

// Hands on to a visitor what a payload may hold, and ends the parsing at all else.
class CheckedVisit : public nlohmann::json_sax<Payload> {
 public:
  explicit CheckedVisit(PayloadVisitor& visitor) : visitor_(visitor) {}
  bool null() override {
    visitor_.Null();
    return depth_ > 0;
  }
  bool boolean(bool value) override {
    visitor_.Bool(value);
    return depth_ > 0;
  }
  bool number_integer(number_integer_t value) override {
    return Number(static_cast<double>(value));
  }
  bool number_unsigned(number_unsigned_t value) override {
    return Number(static_cast<double>(value));
  }
  bool number_float(number_float_t value, const string_t&) override { return Number(value); }
  bool string(string_t& value) override {
    visitor_.Text(std::move(value));
    return depth_ > 0;
  }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override {
    visitor_.StartObject();
    return ++depth_ <= kMaxPayloadDepth + 1;
  }
  bool key(string_t& name) override {
    visitor_.Name(std::move(name));
    return true;
  }
  bool end_object() override {
    visitor_.EndObject();
    return --depth_ >= 0;
  }
  bool start_array(size_t) override {
    visitor_.StartList();
    return depth_ > 0 && ++depth_ <= kMaxPayloadDepth + 1;
  }
  bool end_array() override {
    visitor_.EndList();
    return --depth_ >= 0;
  }
  bool parse_error(size_t, const std::string&, const Payload::exception&) override { return false; }

 private:
  bool Number(double value) {
    visitor_.Number(value);
    return depth_ > 0 && std::isfinite(value);
  }
  PayloadVisitor& visitor_;
  int depth_ = 0;
};

// The name of a place within a payload, as a filter would write it.
std::string Within(const std::string& path, absl::string_view name) {
  const std::string shown = absl::Utf8SafeCHexEscape(name);
  return path.empty() ? shown : absl::StrCat(path, ".", shown);
}

absl::Status Fault(const std::string& path, absl::string_view what) {
  return absl::InvalidArgumentError(path.empty() ? absl::StrCat("the payload ", what)
                                                 : absl::StrCat("payload field ", path, " ", what));
}

// Checks `value` and makes its numbers doubles.
absl::Status CheckValue(Payload& value, const std::string& path, int depth) {
  if (value.is_structured() && depth > kMaxPayloadDepth) {
    return Fault(path, absl::StrCat("is nested more than ", kMaxPayloadDepth, " levels deep"));
  }
  switch (value.type()) {
    case Payload::value_t::null:
    case Payload::value_t::boolean:
      return absl::OkStatus();
    case Payload::value_t::string:
      if (!IsValidUtf8(value.get_ref<const std::string&>())) return Fault(path, "is no UTF-8");
      return absl::OkStatus();
    case Payload::value_t::number_integer:
    case Payload::value_t::number_unsigned:
    case Payload::value_t::number_float: {
      const double number = value.get<double>();
      if (!std::isfinite(number)) return Fault(path, "is not a finite number");
      value = number;
      return absl::OkStatus();
    }
    case Payload::value_t::array:
      for (size_t i = 0; i < value.size(); ++i) {
        RETURN_IF_ERROR(CheckValue(value[i], absl::StrCat(path, "[", i, "]"), depth + 1));
      }
      return absl::OkStatus();
    case Payload::value_t::object:
      for (auto field = value.begin(); field != value.end(); ++field) {
        if (field.key().empty()) return Fault(path, "has a field without a name");
        if (!IsValidUtf8(field.key())) return Fault(path, "has a field whose name is no UTF-8");
        RETURN_IF_ERROR(CheckValue(field.value(), Within(path, field.key()), depth + 1));
      }
      return absl::OkStatus();
    case Payload::value_t::binary:
    case Payload::value_t::discarded:
      break;
  }
  return Fault(path, "is of a kind that payloads do not know");
}

absl::Status Damaged() { return absl::InvalidArgumentError("a stored payload is damaged"); }

// Whether VisitPayload() would take it too; `depth`: of objects and lists that it is within.
bool IsSound(const Payload& value, int depth) {
  if (value.is_number_float()) return std::isfinite(value.get<double>());
  if (!value.is_structured()) return !value.is_binary();
  return depth <= kMaxPayloadDepth &&
         std::all_of(value.begin(), value.end(),
                     [depth](const Payload& part) { return IsSound(part, depth + 1); });
}

}  // namespace

absl::StatusOr<Payload> CheckPayload(Payload payload) {
  if (payload.is_null()) return payload;
  if (!payload.is_object()) return Fault("", "must be an object");
  RETURN_IF_ERROR(CheckValue(payload, "", 1));
  if (const size_t bytes = Payload::to_cbor(payload).size(); bytes > kMaxPayloadBytes) {
    return Fault("",
                 absl::StrCat("has ", bytes, " bytes; at most ", kMaxPayloadBytes, " are allowed"));
  }
  return payload;
}

std::string SerializePayload(const Payload& payload) {
  if (payload.is_null()) return "";
  std::string bytes;
  Payload::to_cbor(payload, bytes);
  return bytes;
}

absl::StatusOr<Payload> ParsePayload(absl::string_view bytes) {
  if (bytes.empty()) return Payload();
  // The parser recurses, two large frames a level, and a level may be a byte. A short text cannot
  // lead it deep enough to matter.
  constexpr size_t kShort = 512;
  Payload payload;
  try {
    DepthGuard guard;
    if (bytes.size() > kShort &&
        !Payload::sax_parse(bytes.begin(), bytes.end(), &guard, Payload::input_format_t::cbor)) {
      return Damaged();
    }
    payload = Payload::from_cbor(bytes.begin(), bytes.end(), /*strict=*/true,
                                 /*allow_exceptions=*/false);
  } catch (const Payload::exception&) {  // for sizes beyond all bounds it throws nonetheless
    return Damaged();
  }
  if (!payload.is_object() || !IsSound(payload, 0)) return Damaged();
  return payload;
}

absl::Status VisitPayload(absl::string_view bytes, PayloadVisitor& visitor) {
  CheckedVisit visit(visitor);
  try {
    if (Payload::sax_parse(bytes.begin(), bytes.end(), &visit, Payload::input_format_t::cbor)) {
      return absl::OkStatus();
    }
  } catch (const Payload::exception&) {  // as above
  }
  return Damaged();
}

absl::StatusOr<Payload> PayloadFromJson(absl::string_view text) {
  Payload payload = Payload::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (payload.is_discarded()) return absl::InvalidArgumentError("the payload is no JSON");
  return CheckPayload(std::move(payload));
}

}  // namespace dime
