#ifndef DIME_INDEX_ITEM_FILTER_H_
#define DIME_INDEX_ITEM_FILTER_H_

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "index/features.h"

namespace dime {

struct FilterExpression;

// What a filter looks at: one item, seen in place. Strings that are empty and times that are
// InfinitePast are unknown, and so is a payload that is null or not there.
struct FilterSubject {
  Modality modality = Modality::kImage;
  absl::string_view id;
  absl::string_view uri;
  absl::string_view text;      // captions only
  absl::string_view image_id;  // captions only
  absl::Time create_time = absl::InfinitePast();
  absl::Time update_time = absl::InfinitePast();
  const nlohmann::json* payload = nullptr;  // an object
};

// Which items of a gallery a search may find, in the filter language of AIP-160
// (google.aip.dev/160), compiled once and evaluated item by item:
//   color = "red" AND (size > 3 OR tags:new) -archived = true
// Fields. A name is a field of the payload; dots lead into objects. Reserved are id, uri,
//   create_time, update_time, of captions also text and image_id; payload.NAME is the payload's
//   field where such a name hides it. Names with other characters than letters, digits, "_" and
//   so on are quoted.
// Values. A quoted value is a string; an unquoted one is read as the field's type wants it: a
//   string, a number, true, false or null. The times take RFC 3339 or a date (midnight UTC).
// = is equality; in a string's value "*" stands for any characters ("\*" in quotes for itself).
//   "= null" holds where the field is absent, null, or an unknown reserved one. != is true wherever
//   = is not. < <= > >= order numbers, times, and strings by code point; they are false for
//   other types, for absent fields, and for lists.
// : is "has". A list has the elements equal to the value, an object the keys; anything else has
//   the value that it equals. A path leads through lists with this operator alone: any element
//   will do. "field:*" is true where the field is there and not null.
// A value alone, without a field, is looked for in all strings of the item (it may be any part of
//   them) and among the numbers and booleans of its payload.
// a AND b, "a b": both. a OR b: either. NOT a, -a: not. OR binds tighter than AND, as AIP-160 has
//   it. A parenthesised value is compared value by value: color = (red OR blue).
// There are no functions. Nothing but white space matches every item.
// A value type: cheap to copy, immutable, thread-safe.
class ItemFilter {
 public:
  // What a filter may hold, so that a hostile one costs little.
  static constexpr int kMaxBytes = 4096;
  static constexpr int kMaxNesting = 32;  // parentheses within parentheses
  static constexpr int kMaxComparisons = 256;
  static constexpr int kMaxPathLength = 16;  // names in a path
  static constexpr int kMaxWildcards = 8;    // in one value

  // Matches every item.
  ItemFilter() = default;
  // INVALID_ARGUMENT, saying at which character (from 1) what is wrong.
  static absl::StatusOr<ItemFilter> Parse(absl::string_view text);

  bool Matches(const FilterSubject& subject) const;
  bool matches_everything() const { return expression_ == nullptr; }
  // The same for filters that differ only in white space, in superfluous parentheses or in the
  // order of what AND and OR join; different for filters that may differ in what they match.
  // Empty if everything matches. Can be parsed by nobody.
  const std::string& canonical() const { return canonical_; }

 private:
  std::shared_ptr<const FilterExpression> expression_;  // null: everything
  std::string canonical_;
};

}  // namespace dime

#endif  // DIME_INDEX_ITEM_FILTER_H_
