#ifndef DIME_INDEX_FILTER_EXPRESSION_H_
#define DIME_INDEX_FILTER_EXPRESSION_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "index/item_filter.h"

namespace dime {

// The compiled form of an ItemFilter, which says what all this means: a tree of plain values, built
// by its parser and evaluated here. Depth is bounded by the parser, and by that of payloads.
// Immutable once built, hence thread-safe.

// Where a comparison looks.
enum class FilterField {
  kPayload,
  kId,
  kUri,
  kCreateTime,
  kUpdateTime,
  kText,     // of captions; an image's payload field "text"
  kImageId,  // of captions; an image's payload field "image_id"
  kAnywhere  // a value alone: all of the item
};

enum class FilterOperator { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kHas };
absl::string_view FilterOperatorSign(FilterOperator op);  // "=", ...

// The right side of a comparison, read in all the ways that a field's type may want.
struct FilterValue {
  std::string text;     // without quotes and escapes
  bool quoted = false;  // a string and nothing else
  // The text, cut at its wildcards: one piece if there are none.
  std::vector<std::string> pieces;
  std::optional<double> number;
  std::optional<bool> boolean;
  std::optional<absl::Time> time;
  bool null = false;

  // Unquoted "*".
  bool IsAnything() const { return !quoted && text == "*"; }
};

struct FilterExpression {
  enum class Kind { kAnd, kOr, kNot, kComparison };
  Kind kind = Kind::kComparison;
  std::vector<FilterExpression> operands;  // of kAnd, kOr (two or more) and kNot (one)
  // Of a comparison.
  FilterField field = FilterField::kPayload;
  std::vector<std::string> path;  // within the payload
  FilterOperator op = FilterOperator::kEqual;
  FilterValue value;

  bool Matches(const FilterSubject& subject) const;
  // See ItemFilter::canonical().
  std::string Canonical() const;
};

}  // namespace dime

#endif  // DIME_INDEX_FILTER_EXPRESSION_H_
