#include "index/text_lines.h"

#include <utf8proc.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace dime {
namespace {

constexpr size_t kMaxQuotedBytes = 64;

}  // namespace

bool IsValidUtf8(absl::string_view text) {
  const auto* next = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  utf8proc_ssize_t left = static_cast<utf8proc_ssize_t>(text.size());
  while (left > 0) {
    utf8proc_int32_t code_point;
    const utf8proc_ssize_t length = utf8proc_iterate(next, left, &code_point);
    if (length <= 0) return false;
    next += length;
    left -= length;
  }
  return true;
}

std::vector<absl::string_view> SplitLines(absl::string_view content) {
  absl::ConsumePrefix(&content, "\xEF\xBB\xBF");
  std::vector<absl::string_view> lines;
  while (!content.empty()) {
    const size_t end = content.find('\n');
    absl::string_view line = content.substr(0, end);
    content.remove_prefix(end == absl::string_view::npos ? content.size() : end + 1);
    absl::ConsumeSuffix(&line, "\r");
    lines.push_back(line);
  }
  return lines;
}

std::string Quoted(absl::string_view text) {
  const bool cut = text.size() > kMaxQuotedBytes;
  absl::string_view head = text.substr(0, kMaxQuotedBytes);
  // Cut between characters: not before a continuation byte.
  while (cut && !head.empty() && (text[head.size()] & 0xc0) == 0x80) head.remove_suffix(1);
  const std::string escaped =
      IsValidUtf8(head) ? absl::Utf8SafeCHexEscape(head) : absl::CHexEscape(head);
  return absl::StrCat("\"", escaped, cut ? "...\"" : "\"");
}

}  // namespace dime
