#ifndef DIME_INDEX_TEXT_LINES_H_
#define DIME_INDEX_TEXT_LINES_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace dime {

// Whether `text` is well-formed UTF-8 (no surrogates, no overlong forms, nothing above U+10FFFF).
bool IsValidUtf8(absl::string_view text);

// A user's text for an error message: in quotation marks, with control characters escaped (in what
// is not UTF-8 every byte beyond ASCII too), and cut after 64 bytes, for messages travel in headers
// of limited size.
std::string Quoted(absl::string_view text);

// The lines of a text file, ended by "\n" or "\r\n"; the last may lack its end. Only these end a
// line: captions may hold other separators. A byte order mark at the start is dropped. The views
// point into `content`.
std::vector<absl::string_view> SplitLines(absl::string_view content);

}  // namespace dime

#endif  // DIME_INDEX_TEXT_LINES_H_
