#include "index/filter_expression.h"

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace dime {
namespace {

using nlohmann::json;

absl::string_view AsView(const std::string& text) { return {text.data(), text.size()}; }

// Whether `text` has the pieces in their order, and between them whatever it likes; the first piece
// is at its start and the last at its end unless these are `open`.
bool MatchesPieces(absl::string_view text, const std::vector<std::string>& pieces, bool open) {
  if (pieces.size() == 1 && !open) return text == AsView(pieces.front());
  size_t first = 0;
  size_t last = pieces.size();
  if (!open) {
    if (!absl::StartsWith(text, AsView(pieces.front()))) return false;
    text.remove_prefix(pieces.front().size());
    if (!absl::EndsWith(text, AsView(pieces.back()))) return false;
    text.remove_suffix(pieces.back().size());
    ++first;
    --last;
  }
  // The leftmost place of each piece leaves most to those that follow.
  for (size_t i = first; i < last; ++i) {
    const size_t place = text.find(AsView(pieces[i]));
    if (place == absl::string_view::npos) return false;
    text.remove_prefix(place + pieces[i].size());
  }
  return true;
}

template <typename T>
bool Ordered(const T& left, FilterOperator op, const T& right) {
  switch (op) {
    case FilterOperator::kLess:
      return left < right;
    case FilterOperator::kLessEqual:
      return left <= right;
    case FilterOperator::kGreater:
      return left > right;
    case FilterOperator::kGreaterEqual:
      return left >= right;
    default:
      return false;
  }
}

// By the type of `found`, a scalar.
bool Equals(const json& found, const FilterValue& value) {
  if (found.is_string()) {
    return MatchesPieces(AsView(found.get_ref<const std::string&>()), value.pieces, false);
  }
  if (value.quoted) return false;
  if (found.is_number()) return value.number.has_value() && found.get<double>() == *value.number;
  if (found.is_boolean()) return value.boolean.has_value() && found.get<bool>() == *value.boolean;
  return found.is_null() && value.null;
}

bool IsOrdered(const json& found, FilterOperator op, const FilterValue& value) {
  if (found.is_string()) {
    return Ordered(AsView(found.get_ref<const std::string&>()), op, AsView(value.text));
  }
  if (!found.is_number() || value.quoted || !value.number.has_value()) return false;
  return Ordered(found.get<double>(), op, *value.number);
}

// Whether `found`, or an element of it where it is a list, has the value at path[place..].
bool Has(const json& found, const std::vector<std::string>& path, size_t place,
         const FilterValue& value) {
  const bool here = place == path.size();
  if (here && value.IsAnything()) return !found.is_null();
  if (found.is_array()) {
    return std::any_of(found.begin(), found.end(), [&path, place, &value](const json& element) {
      return Has(element, path, place, value);
    });
  }
  if (found.is_object()) {
    const auto member = found.find(here ? value.text : path[place]);
    if (here) return member != found.end();
    return member != found.end() && Has(*member, path, place + 1, value);
  }
  return here && Equals(found, value);
}

bool ComparePayload(const json* payload, const std::vector<std::string>& path, FilterOperator op,
                    const FilterValue& value) {
  static const json& null = *new json();
  if (payload == nullptr) payload = &null;
  if (op == FilterOperator::kHas) return Has(*payload, path, 0, value);
  const json* found = payload;
  for (const std::string& name : path) {
    const auto member = found->is_object() ? found->find(name) : found->end();
    if (!found->is_object() || member == found->end()) {
      found = &null;
      break;
    }
    found = &*member;
  }
  if (op == FilterOperator::kEqual) return Equals(*found, value);
  if (op == FilterOperator::kNotEqual) return !Equals(*found, value);
  return IsOrdered(*found, op, value);
}

bool CompareText(absl::string_view found, FilterOperator op, const FilterValue& value) {
  const bool unknown = found.empty();
  const auto equals = [unknown, found, &value] {
    return MatchesPieces(found, value.pieces, false) || (unknown && value.null);
  };
  switch (op) {
    case FilterOperator::kEqual:
      return equals();
    case FilterOperator::kNotEqual:
      return !equals();
    case FilterOperator::kHas:
      return !unknown && (value.IsAnything() || MatchesPieces(found, value.pieces, false));
    default:
      return !unknown && Ordered(found, op, AsView(value.text));
  }
}

bool CompareTime(absl::Time found, FilterOperator op, const FilterValue& value) {
  const bool unknown = found == absl::InfinitePast();
  const bool equals = unknown ? value.null : (value.time.has_value() && found == *value.time);
  switch (op) {
    case FilterOperator::kEqual:
      return equals;
    case FilterOperator::kNotEqual:
      return !equals;
    case FilterOperator::kHas:
      return !unknown && (value.IsAnything() || equals);
    default:
      return !unknown && value.time.has_value() && Ordered(found, op, *value.time);
  }
}

// A value alone, anywhere in `found`.
bool Occurs(const json& found, const FilterValue& value) {
  if (found.is_structured()) {
    return std::any_of(found.begin(), found.end(),
                       [&value](const json& inner) { return Occurs(inner, value); });
  }
  if (found.is_string()) {
    return MatchesPieces(AsView(found.get_ref<const std::string&>()), value.pieces, true);
  }
  return !found.is_null() && Equals(found, value);
}

bool OccursAnywhere(const FilterSubject& subject, const FilterValue& value) {
  if (value.IsAnything()) return true;
  std::vector<absl::string_view> texts = {subject.id, subject.uri};
  if (subject.modality == Modality::kCaption) {
    texts.push_back(subject.text);
    texts.push_back(subject.image_id);
  }
  return std::any_of(texts.begin(), texts.end(),
                     [&value](absl::string_view text) {
                       return MatchesPieces(text, value.pieces, true);
                     }) ||
         (subject.payload != nullptr && Occurs(*subject.payload, value));
}

absl::string_view FieldName(FilterField field) {
  switch (field) {
    case FilterField::kPayload:
      return "payload";
    case FilterField::kId:
      return "id";
    case FilterField::kUri:
      return "uri";
    case FilterField::kCreateTime:
      return "create_time";
    case FilterField::kUpdateTime:
      return "update_time";
    case FilterField::kText:
      return "text";
    case FilterField::kImageId:
      return "image_id";
    case FilterField::kAnywhere:
      return "*";
  }
  return "";
}

std::string InQuotes(absl::string_view text) {
  return absl::StrCat("\"", absl::Utf8SafeCEscape(text), "\"");
}

}  // namespace

absl::string_view FilterOperatorSign(FilterOperator op) {
  switch (op) {
    case FilterOperator::kEqual:
      return "=";
    case FilterOperator::kNotEqual:
      return "!=";
    case FilterOperator::kLess:
      return "<";
    case FilterOperator::kLessEqual:
      return "<=";
    case FilterOperator::kGreater:
      return ">";
    case FilterOperator::kGreaterEqual:
      return ">=";
    case FilterOperator::kHas:
      return ":";
  }
  return "";
}

bool FilterExpression::Matches(const FilterSubject& subject) const {
  const auto matches = [&subject](const FilterExpression& operand) {
    return operand.Matches(subject);
  };
  switch (kind) {
    case Kind::kAnd:
      return std::all_of(operands.begin(), operands.end(), matches);
    case Kind::kOr:
      return std::any_of(operands.begin(), operands.end(), matches);
    case Kind::kNot:
      return !operands.front().Matches(subject);
    case Kind::kComparison:
      break;
  }
  const bool caption = subject.modality == Modality::kCaption;
  switch (field) {
    case FilterField::kAnywhere:
      return OccursAnywhere(subject, value);
    case FilterField::kId:
      return CompareText(subject.id, op, value);
    case FilterField::kUri:
      return CompareText(subject.uri, op, value);
    case FilterField::kCreateTime:
      return CompareTime(subject.create_time, op, value);
    case FilterField::kUpdateTime:
      return CompareTime(subject.update_time, op, value);
    case FilterField::kText:
      if (caption) return CompareText(subject.text, op, value);
      break;
    case FilterField::kImageId:
      if (caption) return CompareText(subject.image_id, op, value);
      break;
    case FilterField::kPayload:
      break;
  }
  return ComparePayload(subject.payload, path, op, value);
}

std::string FilterExpression::Canonical() const {
  if (kind == Kind::kComparison) {
    return absl::StrCat("(", FilterOperatorSign(op), " ", FieldName(field),
                        absl::StrJoin(path, "",
                                      [](std::string* out, const std::string& name) {
                                        absl::StrAppend(out, ".", InQuotes(name));
                                      }),
                        value.quoted ? " quoted" : "",
                        absl::StrJoin(value.pieces, "*",
                                      [](std::string* out, const std::string& piece) {
                                        absl::StrAppend(out, " ", InQuotes(piece));
                                      }),
                        ")");
  }
  std::vector<std::string> parts;
  for (const FilterExpression& operand : operands) parts.push_back(operand.Canonical());
  std::sort(parts.begin(), parts.end());
  parts.erase(std::unique(parts.begin(), parts.end()), parts.end());
  if (kind != Kind::kNot && parts.size() == 1) return parts.front();
  const absl::string_view name = kind == Kind::kAnd ? "AND" : kind == Kind::kOr ? "OR" : "NOT";
  return absl::StrCat("(", name, " ", absl::StrJoin(parts, " "), ")");
}

}  // namespace dime
