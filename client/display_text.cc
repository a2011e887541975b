#include "client/display_text.h"

#include <utf8proc.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace dime {
namespace {

constexpr absl::string_view kReplacement = "\uFFFD";

// Calls `visit(code_point, bytes)` for each character; code_point is -1 for a byte that is not
// UTF-8.
template <typename Visitor>
void ForEachCharacter(absl::string_view text, Visitor visit) {
  for (size_t i = 0; i < text.size();) {
    utf8proc_int32_t code_point;
    utf8proc_ssize_t length =
        utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + i,
                         static_cast<utf8proc_ssize_t>(text.size() - i), &code_point);
    if (length <= 0) {
      length = 1;
      code_point = -1;
    }
    visit(code_point, text.substr(i, static_cast<size_t>(length)));
    i += static_cast<size_t>(length);
  }
}

bool TurnsDirection(utf8proc_int32_t code_point) {
  return (code_point >= 0x202A && code_point <= 0x202E) ||
         (code_point >= 0x2066 && code_point <= 0x2069);
}

}  // namespace

std::string Styled(absl::string_view text, Style style, const Terminal& terminal) {
  if (!terminal.color || style == Style::kPlain || text.empty()) return std::string(text);
  absl::string_view code;
  switch (style) {
    case Style::kBold:
      code = "1";
      break;
    case Style::kFaint:
      code = "2";
      break;
    case Style::kGood:
      code = "32";
      break;
    case Style::kBad:
      code = "31";
      break;
    case Style::kPlain:
      break;
  }
  return absl::StrCat("\x1b[", code, "m", text, "\x1b[0m");
}

std::string Printable(absl::string_view text) {
  std::string result;
  ForEachCharacter(text, [&](utf8proc_int32_t code_point, absl::string_view bytes) {
    if (code_point == -1) {
      absl::StrAppend(&result, kReplacement);
      return;
    }
    switch (utf8proc_category(code_point)) {
      case UTF8PROC_CATEGORY_ZS:
      case UTF8PROC_CATEGORY_ZL:
      case UTF8PROC_CATEGORY_ZP:
        result += ' ';
        return;
      case UTF8PROC_CATEGORY_CC:
        if (code_point >= '\t' && code_point <= '\r') {
          result += ' ';
        } else {
          absl::StrAppend(&result, kReplacement);
        }
        return;
      default:
        absl::StrAppend(&result, TurnsDirection(code_point) ? kReplacement : bytes);
    }
  });
  return result;
}

int DisplayWidth(absl::string_view text) {
  int width = 0;
  ForEachCharacter(text, [&](utf8proc_int32_t code_point, absl::string_view) {
    width += code_point == -1 ? 1 : utf8proc_charwidth(code_point);
  });
  return width;
}

std::vector<std::string> WrapText(absl::string_view text, int width) {
  if (width < 1) return {std::string(text)};
  std::vector<std::string> lines(1);
  int used = 0;  // columns of the last line
  for (absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    const int word_width = DisplayWidth(word);
    if (used > 0 && used + 1 + word_width <= width) {
      absl::StrAppend(&lines.back(), " ", word);
      used += 1 + word_width;
      continue;
    }
    if (used > 0) {
      lines.emplace_back();
      used = 0;
    }
    // Combining marks have no width and so stay with what they belong to.
    ForEachCharacter(word, [&](utf8proc_int32_t code_point, absl::string_view bytes) {
      const int character_width = code_point == -1 ? 1 : utf8proc_charwidth(code_point);
      if (used > 0 && used + character_width > width) {
        lines.emplace_back();
        used = 0;
      }
      absl::StrAppend(&lines.back(), bytes);
      used += character_width;
    });
  }
  return lines;
}

}  // namespace dime
