#include "index/item_filter.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "index/filter_expression.h"
#include "index/status_macros.h"
#include "index/text_lines.h"

namespace dime {
namespace {

using Kind = FilterExpression::Kind;

bool IsWhiteSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// What unquoted text is made of. Other characters belong to the language or are kept for it.
bool IsTextCharacter(char c) {
  if (static_cast<unsigned char>(c) >= 0x80) return true;
  return absl::ascii_isalnum(c) || (c != '\0' && absl::StrContains("_-*/#@$%+~?^;", c));
}

bool IsQuote(char c) { return c == '"' || c == '\''; }

bool IsKeyword(absl::string_view text) { return text == "AND" || text == "OR" || text == "NOT"; }

// A number as JSON or C would write it in decimal; not "inf", "nan", "0x1f".
std::optional<double> ParseNumber(absl::string_view text) {
  double number;
  for (const char c : text) {
    if (!absl::ascii_isdigit(c) && !absl::StrContains("+-.eE", c)) return std::nullopt;
  }
  if (!absl::SimpleAtod(text, &number)) return std::nullopt;
  return number;
}

std::optional<absl::Time> ParseTime(const std::string& text) {
  absl::Time time;
  for (const char* format : {absl::RFC3339_full, "%E4Y-%m-%d"}) {
    if (absl::ParseTime(format, text, absl::UTCTimeZone(), &time, nullptr)) {
      if (time == absl::InfiniteFuture() || time == absl::InfinitePast()) return std::nullopt;
      return time;
    }
  }
  return std::nullopt;
}

// `operands`: one or more.
FilterExpression Join(Kind kind, std::vector<FilterExpression> operands) {
  if (operands.size() == 1) return std::move(operands.front());
  FilterExpression joined{.kind = kind};
  for (FilterExpression& operand : operands) {
    // "a AND (b AND c)" is "a AND b AND c".
    if (operand.kind == kind) {
      for (FilterExpression& inner : operand.operands) joined.operands.push_back(std::move(inner));
    } else {
      joined.operands.push_back(std::move(operand));
    }
  }
  return joined;
}

// Recursive descent by the grammar of AIP-160, a function for each of its rules, over the text
// itself, as white space and the place of a character decide what it means.
class FilterParser {
 public:
  explicit FilterParser(absl::string_view text) : text_(text) {}

  // Nothing for a filter of white space.
  absl::StatusOr<std::optional<FilterExpression>> Parse() {
    SkipSpace();
    if (AtEnd()) return std::nullopt;
    ASSIGN_OR_RETURN(FilterExpression expression, ParseExpression(nullptr));
    if (!AtEnd()) {
      return Peek() == ')' ? Error(place_, "there is no \"(\" for this \")\"")
                           : Error(place_, absl::StrCat("unexpected ", Shown(place_)));
    }
    return expression;
  }

 private:
  // What is compared, within the parentheses of a value: color = (red OR blue).
  struct Target {
    FilterField field;
    std::vector<std::string> path;
    FilterOperator op;
  };

  bool AtEnd() const { return place_ == text_.size(); }
  char Peek() const { return AtEnd() ? '\0' : text_[place_]; }
  void SkipSpace() {
    while (!AtEnd() && IsWhiteSpace(Peek())) ++place_;
  }
  bool Consume(absl::string_view expected) {
    if (text_.substr(place_, expected.size()) != expected) return false;
    place_ += expected.size();
    return true;
  }

  // The character at `place`, for messages.
  std::string Shown(size_t place) const {
    if (place >= text_.size()) return "end";
    size_t end = place + 1;
    while (end < text_.size() && (text_[end] & 0xc0) == 0x80) ++end;
    return absl::StrCat("\"", absl::Utf8SafeCEscape(text_.substr(place, end - place)), "\"");
  }

  absl::Status Error(size_t place, absl::string_view what) const {
    int64_t character = 1;
    for (size_t i = 0; i < place; ++i) character += (text_[i] & 0xc0) != 0x80;
    return absl::InvalidArgumentError(absl::StrCat("at character ", character, ": ", what));
  }

  // The keyword that begins here as a word of its own, or "".
  absl::string_view PeekKeyword() const {
    for (const absl::string_view keyword : {"AND", "OR", "NOT"}) {
      if (text_.substr(place_, keyword.size()) != keyword) continue;
      const size_t end = place_ + keyword.size();
      if (end == text_.size() || IsWhiteSpace(text_[end]) || text_[end] == '(' ||
          text_[end] == ')') {
        return keyword;
      }
    }
    return "";
  }

  // expression: sequences joined by AND. A sequence's factors are joined by AND as well: matching
  // is exact here, so that the two mean the same.
  absl::StatusOr<FilterExpression> ParseExpression(const Target* target) {
    std::vector<FilterExpression> factors;
    while (true) {
      ASSIGN_OR_RETURN(FilterExpression factor, ParseFactor(target));
      factors.push_back(std::move(factor));
      const size_t end = place_;
      SkipSpace();
      if (AtEnd() || Peek() == ')') break;
      if (PeekKeyword() == "AND") {
        Consume("AND");
        SkipSpace();
      } else if (end == place_) {
        return Error(place_, absl::StrCat("unexpected ", Shown(place_)));
      }
    }
    return Join(Kind::kAnd, std::move(factors));
  }

  // factor: terms joined by OR.
  absl::StatusOr<FilterExpression> ParseFactor(const Target* target) {
    std::vector<FilterExpression> terms;
    while (true) {
      ASSIGN_OR_RETURN(FilterExpression term, ParseTerm(target));
      terms.push_back(std::move(term));
      const size_t end = place_;
      SkipSpace();
      if (PeekKeyword() != "OR") {
        place_ = end;
        break;
      }
      Consume("OR");
      SkipSpace();
    }
    return Join(Kind::kOr, std::move(terms));
  }

  // term: [NOT | -] simple.
  absl::StatusOr<FilterExpression> ParseTerm(const Target* target) {
    const bool number = target != nullptr && place_ + 1 < text_.size() &&
                        absl::ascii_isdigit(text_[place_ + 1]);  // color = (-1 OR -2)
    bool negated = false;
    if (PeekKeyword() == "NOT") {
      Consume("NOT");
      SkipSpace();
      negated = true;
    } else if (Peek() == '-' && !number) {
      ++place_;
      negated = true;
    }
    ASSIGN_OR_RETURN(FilterExpression simple, ParseSimple(target));
    if (!negated) return simple;
    FilterExpression negation{.kind = Kind::kNot};
    negation.operands.push_back(std::move(simple));
    return negation;
  }

  // simple: composite or restriction.
  absl::StatusOr<FilterExpression> ParseSimple(const Target* target) {
    if (Peek() == '(') return ParseComposite(target);
    return target == nullptr ? ParseRestriction() : ParseComparedValue(*target);
  }

  // composite: an expression in parentheses.
  absl::StatusOr<FilterExpression> ParseComposite(const Target* target) {
    const size_t open = place_;
    if (++nesting_ > ItemFilter::kMaxNesting) {
      return Error(open, absl::StrCat("parentheses are nested deeper than ",
                                      ItemFilter::kMaxNesting, " levels"));
    }
    ++place_;
    SkipSpace();
    if (Peek() == ')') return Error(place_, "there is nothing between the parentheses");
    ASSIGN_OR_RETURN(FilterExpression expression, ParseExpression(target));
    if (!Consume(")")) return Error(open, "there is no \")\" for this \"(\"");
    --nesting_;
    return expression;
  }

  // restriction: a member, and what it is compared with if it is a field.
  absl::StatusOr<FilterExpression> ParseRestriction() {
    const size_t start = place_;
    ASSIGN_OR_RETURN(const std::vector<std::string> names, ParseMember());
    const size_t end = place_;
    SkipSpace();
    const std::optional<FilterOperator> op = ParseOperator();
    if (!op.has_value()) {
      place_ = end;
      return MakeLiteral(start, end, names);
    }
    Target target{.op = *op};
    RETURN_IF_ERROR(Resolve(start, names, target));
    SkipSpace();
    if (Peek() == '(') return ParseComposite(&target);
    return ParseComparedValue(target);
  }

  // member: names with dots between them.
  absl::StatusOr<std::vector<std::string>> ParseMember() {
    std::vector<std::string> names;
    const size_t start = place_;
    do {
      const size_t name_start = place_;
      if (IsQuote(Peek())) {
        ASSIGN_OR_RETURN(FilterValue name, ParseString());
        if (name.text.empty() && (!names.empty() || Peek() == '.')) {
          return Error(name_start, "a field's name is empty");
        }
        if (names.empty()) first_string_ = std::move(name);
        names.push_back(names.empty() ? first_string_.text : name.text);
      } else {
        const absl::string_view name = TakeText();
        if (name.empty()) {
          if (names.empty()) return UnexpectedStart(start);
          return Error(place_, "a field's name is missing after the \".\"");
        }
        if (names.empty()) RETURN_IF_ERROR(CheckWord(start, name));
        names.emplace_back(name);
      }
      if (Peek() == '(' && !IsQuote(text_[place_ - 1])) {
        return Error(start, absl::StrCat("there is no function \"", absl::StrJoin(names, "."),
                                         "\"; this language has none"));
      }
      if (names.size() > ItemFilter::kMaxPathLength) {
        return Error(start,
                     absl::StrCat("the path has more than ", ItemFilter::kMaxPathLength, " names"));
      }
    } while (Consume("."));
    return names;
  }

  absl::Status UnexpectedStart(size_t place) const {
    const absl::string_view rest = text_.substr(place);
    if (absl::StartsWith(rest, "&&")) return Error(place, "write AND instead of \"&&\"");
    if (absl::StartsWith(rest, "||")) return Error(place, "write OR instead of \"||\"");
    if (absl::StartsWith(rest, "!")) return Error(place, "write NOT instead of \"!\"");
    if (rest.empty()) return Error(place, "a field or a value is missing");
    return Error(place, absl::StrCat("a field or a value is missing before ", Shown(place)));
  }

  // A word that begins a restriction.
  absl::Status CheckWord(size_t start, absl::string_view word) const {
    if (IsKeyword(word)) {
      return Error(start, absl::StrCat("a field or a value is missing before ", word,
                                       "; the word itself is written in quotes"));
    }
    for (const absl::string_view keyword : {"AND", "OR", "NOT"}) {
      if (word == absl::AsciiStrToLower(keyword)) {
        return Error(start, absl::StrCat("write ", keyword,
                                         " in capitals; the word itself is "
                                         "written in quotes"));
      }
    }
    return absl::OkStatus();
  }

  std::optional<FilterOperator> ParseOperator() {
    // Longer signs first.
    constexpr FilterOperator kOperators[] = {
        FilterOperator::kLessEqual, FilterOperator::kGreaterEqual, FilterOperator::kNotEqual,
        FilterOperator::kLess,      FilterOperator::kGreater,      FilterOperator::kEqual,
        FilterOperator::kHas};
    for (const FilterOperator op : kOperators) {
      if (Consume(FilterOperatorSign(op))) return op;
    }
    return std::nullopt;
  }

  absl::string_view TakeText() {
    const size_t start = place_;
    while (!AtEnd() && IsTextCharacter(Peek())) ++place_;
    return text_.substr(start, place_ - start);
  }

  // Which field `names` are.
  absl::Status Resolve(size_t start, const std::vector<std::string>& names, Target& target) const {
    constexpr std::pair<absl::string_view, FilterField> kReserved[] = {
        {"id", FilterField::kId},
        {"uri", FilterField::kUri},
        {"create_time", FilterField::kCreateTime},
        {"update_time", FilterField::kUpdateTime},
        {"text", FilterField::kText},
        {"image_id", FilterField::kImageId},
    };
    target.field = FilterField::kPayload;
    target.path = names;
    if (names.front() == "payload") {
      target.path.erase(target.path.begin());
      return absl::OkStatus();
    }
    for (const auto& [name, field] : kReserved) {
      if (names.front() != name) continue;
      if (names.size() == 1) {
        target.field = field;
      } else if (field != FilterField::kText && field != FilterField::kImageId) {
        return Error(start, absl::StrCat("\"", name,
                                         "\" has no fields; a field of the payload "
                                         "with this name is payload.",
                                         name));
      }
    }
    return absl::OkStatus();
  }

  // arg: a value, compared as `target` says.
  absl::StatusOr<FilterExpression> ParseComparedValue(const Target& target) {
    const size_t start = place_;
    FilterValue value;
    if (IsQuote(Peek())) {
      ASSIGN_OR_RETURN(value, ParseString());
    } else {
      RETURN_IF_ERROR(ParseUnquotedValue(target, value));
    }
    if (Peek() == '.' || Peek() == '(') {
      return Error(place_, absl::StrCat("unexpected ", Shown(place_), " after a value"));
    }
    const bool time =
        target.field == FilterField::kCreateTime || target.field == FilterField::kUpdateTime;
    if (time) {
      value.time = ParseTime(value.text);
      const bool has_anything = target.op == FilterOperator::kHas && value.IsAnything();
      if (!value.time.has_value() && !value.null && !has_anything) {
        return Error(start,
                     "a time is needed here: RFC 3339, such as \"2026-01-31T12:00:00Z\", "
                     "or a date");
      }
    }
    FilterExpression comparison{.field = target.field, .path = target.path, .op = target.op};
    comparison.value = std::move(value);
    return Counted(start, std::move(comparison));
  }

  absl::Status ParseUnquotedValue(const Target& target, FilterValue& value) {
    const size_t start = place_;
    // Numbers and times hold dots and colons; other values dots, as AIP-160 has members there.
    const bool number = absl::ascii_isdigit(Peek());
    while (!AtEnd() && (IsTextCharacter(Peek()) || Peek() == '.' || (number && Peek() == ':'))) {
      ++place_;
    }
    const absl::string_view text = text_.substr(start, place_ - start);
    if (text.empty() || IsKeyword(text)) {
      const absl::string_view sign = FilterOperatorSign(target.op);
      if (Peek() == '=' && text_[place_ - 1] == '=') {
        return Error(place_, "write \"=\" instead of \"==\"");
      }
      return Error(start, text.empty() && !AtEnd()
                              ? absl::StrCat("a value is missing before ", Shown(place_))
                              : absl::StrCat("a value is missing after \"", sign, "\""));
    }
    return ReadUnquoted(start, text, value);
  }

  // Fills in all that unquoted text can be.
  absl::Status ReadUnquoted(size_t start, absl::string_view text, FilterValue& value) const {
    value.text = std::string(text);
    for (const absl::string_view piece : absl::StrSplit(text, '*')) {
      value.pieces.emplace_back(piece);
    }
    value.number = ParseNumber(text);
    if (text == "true") value.boolean = true;
    if (text == "false") value.boolean = false;
    value.null = text == "null";
    return CheckWildcards(start, value);
  }

  absl::Status CheckWildcards(size_t start, const FilterValue& value) const {
    if (value.pieces.size() <= ItemFilter::kMaxWildcards + 1) return absl::OkStatus();
    return Error(start,
                 absl::StrCat("the value has more than ", ItemFilter::kMaxWildcards, " wildcards"));
  }

  // A string in quotes of either kind.
  absl::StatusOr<FilterValue> ParseString() {
    const size_t start = place_;
    const char quote = text_[place_++];
    FilterValue value{.quoted = true, .pieces = {""}};
    while (true) {
      if (AtEnd()) return Error(start, "the string that begins here has no end");
      char c = text_[place_++];
      if (c == quote) break;
      if (c == '*') {
        value.text += c;
        value.pieces.emplace_back();
        continue;
      }
      if (c == '\\') {
        const char escaped = Peek();
        if (AtEnd() || !absl::StrContains("\\\"'*nt", escaped)) {
          return Error(place_ - 1, "after \"\\\" comes one of \\ \" ' * n t");
        }
        ++place_;
        c = escaped == 'n' ? '\n' : escaped == 't' ? '\t' : escaped;
      }
      value.text += c;
      value.pieces.back() += c;
    }
    RETURN_IF_ERROR(CheckWildcards(start, value));
    return value;
  }

  // A value alone.
  absl::StatusOr<FilterExpression> MakeLiteral(size_t start, size_t end,
                                               const std::vector<std::string>& names) {
    FilterExpression literal{.field = FilterField::kAnywhere, .op = FilterOperator::kHas};
    const absl::string_view text = text_.substr(start, end - start);
    const bool quoted = text.find_first_of("\"'") != absl::string_view::npos;
    if (!quoted) {
      RETURN_IF_ERROR(ReadUnquoted(start, text, literal.value));
    } else if (names.size() == 1) {
      literal.value = std::move(first_string_);
    } else {
      return Error(end, "an operator is missing after the field");
    }
    if (literal.value.text.empty()) return Error(start, "an empty string finds nothing");
    return Counted(start, std::move(literal));
  }

  absl::StatusOr<FilterExpression> Counted(size_t start, FilterExpression comparison) {
    if (++comparisons_ > ItemFilter::kMaxComparisons) {
      return Error(
          start, absl::StrCat("there are more than ", ItemFilter::kMaxComparisons, " comparisons"));
    }
    return comparison;
  }

  const absl::string_view text_;
  size_t place_ = 0;
  int nesting_ = 0;
  int comparisons_ = 0;
  FilterValue first_string_;  // of the member parsed last, if that begins with a string
};

}  // namespace

absl::StatusOr<ItemFilter> ItemFilter::Parse(absl::string_view text) {
  if (text.size() > kMaxBytes) {
    return absl::InvalidArgumentError(absl::StrCat("the filter has ", text.size(),
                                                   " bytes; at most ", kMaxBytes, " are allowed"));
  }
  if (!IsValidUtf8(text)) return absl::InvalidArgumentError("the filter is not valid UTF-8");
  ASSIGN_OR_RETURN(std::optional<FilterExpression> expression, FilterParser(text).Parse());
  ItemFilter filter;
  if (expression.has_value()) {
    filter.canonical_ = expression->Canonical();
    filter.expression_ = std::make_shared<const FilterExpression>(*std::move(expression));
  }
  return filter;
}

bool ItemFilter::Matches(const FilterSubject& subject) const {
  return expression_ == nullptr || expression_->Matches(subject);
}

}  // namespace dime
