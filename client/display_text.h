#ifndef DIME_CLIENT_DISPLAY_TEXT_H_
#define DIME_CLIENT_DISPLAY_TEXT_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace dime {

// Where text for people goes.
struct Terminal {
  int width = 0;        // columns; 0 = no limit, as in a file or a pipe
  bool color = false;   // takes ANSI colours
  bool unicode = true;  // shows more than ASCII
};

enum class Style { kPlain, kBold, kFaint, kGood, kBad };

// `text` in that style, where the terminal takes colours; else as it is.
std::string Styled(absl::string_view text, Style style, const Terminal& terminal);

// One line that is safe to show, whatever came over the wire: white space of any kind becomes a
// space; control characters (escape sequences begin with one), marks that turn the direction of
// writing about, and bytes that are not UTF-8 become U+FFFD.
std::string Printable(absl::string_view text);

// Columns that a terminal gives to printable UTF-8: two for wide characters (Chinese, emoji), none
// for combining marks.
int DisplayWidth(absl::string_view text);

// Lines of at most `width` columns, broken at spaces, and within words that are longer than a line.
// At least one line. `width` below 1 means no limit.
std::vector<std::string> WrapText(absl::string_view text, int width);

}  // namespace dime

#endif  // DIME_CLIENT_DISPLAY_TEXT_H_
