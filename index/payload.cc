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

// Hands on to a visitor what a payload may hold, and ends the parsing at all else; at a level too
// deep too, before the parser, which recurses, goes there.
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
    visitor_.Text(value);
    return depth_ > 0;
  }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override {
    visitor_.StartObject();
    return ++depth_ <= kMaxPayloadDepth + 1;
  }
  bool key(string_t& name) override {
    visitor_.Name(name);
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

void VisitValue(const Payload& value, PayloadVisitor& visitor) {
  if (value.is_string()) {
    visitor.Text(value.get_ref<const std::string&>());
  } else if (value.is_number()) {
    visitor.Number(value.get<double>());
  } else if (value.is_boolean()) {
    visitor.Bool(value.get<bool>());
  } else if (value.is_object()) {
    visitor.StartObject();
    for (const auto& [name, field] : value.get_ref<const Payload::object_t&>()) {
      visitor.Name(name);
      VisitValue(field, visitor);
    }
    visitor.EndObject();
  } else if (value.is_array()) {
    visitor.StartList();
    for (const Payload& element : value) VisitValue(element, visitor);
    visitor.EndList();
  } else {
    visitor.Null();
  }
}

// Makes a payload of what its visit tells.
class PayloadBuilder : public PayloadVisitor {
 public:
  void Null() override { Put(nullptr); }
  void Bool(bool value) override { Put(value); }
  void Number(double value) override { Put(value); }
  void Text(absl::string_view value) override { Put(std::string(value)); }
  void StartObject() override { open_.push_back(&Put(Payload::object())); }
  void Name(absl::string_view name) override { name_ = std::string(name); }
  void EndObject() override { open_.pop_back(); }
  void StartList() override { open_.push_back(&Put(Payload::array())); }
  void EndList() override { open_.pop_back(); }
  Payload Take() { return std::move(root_); }

 private:
  Payload& Put(Payload value) {
    if (open_.empty()) return root_ = std::move(value);
    Payload& parent = *open_.back();
    if (parent.is_object()) return parent[name_] = std::move(value);
    return parent.emplace_back(std::move(value));
  }

  Payload root_;
  std::vector<Payload*> open_;
  std::string name_;
};

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
  PayloadBuilder builder;
  RETURN_IF_ERROR(VisitStoredPayload(bytes, builder));
  return builder.Take();
}

void VisitPayload(const Payload& payload, PayloadVisitor& visitor) {
  if (!payload.is_null()) VisitValue(payload, visitor);
}

absl::Status VisitStoredPayload(absl::string_view bytes, PayloadVisitor& visitor) {
  CheckedVisit visit(visitor);
  try {
    if (Payload::sax_parse(bytes.begin(), bytes.end(), &visit, Payload::input_format_t::cbor)) {
      return absl::OkStatus();
    }
  } catch (const Payload::exception&) {  // for sizes beyond all bounds
  }
  return absl::InvalidArgumentError("a stored payload is damaged");
}

absl::StatusOr<Payload> PayloadFromJson(absl::string_view text) {
  Payload payload = Payload::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (payload.is_discarded()) return absl::InvalidArgumentError("the payload is no JSON");
  return CheckPayload(std::move(payload));
}

}  // namespace dime
