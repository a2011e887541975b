#include "model/wordpiece_tokenizer.h"

#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "index/status_macros.h"
#include "utf8proc.h"

namespace dime {
namespace {

constexpr size_t kMaxWordLength = 100;  // code points; longer words are [UNK]
constexpr size_t kMaxSplit = 32;        // code points that one may decompose to; 18 is the most

using CodePoints = std::vector<int32_t>;

bool IsWhitespace(int32_t c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == 0x2028 || c == 0x2029 ||
         utf8proc_category(c) == UTF8PROC_CATEGORY_ZS;
}

bool IsControl(int32_t c) {
  if (c == '\t' || c == '\n' || c == '\r') return false;
  const utf8proc_category_t category = utf8proc_category(c);
  // "Other": control, format, surrogate, private use, not assigned.
  return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF ||
         category == UTF8PROC_CATEGORY_CS || category == UTF8PROC_CATEGORY_CO ||
         category == UTF8PROC_CATEGORY_CN;
}

bool IsPunctuation(int32_t c) {
  // All ASCII that is neither letter, digit, space nor control counts, "$" and "^" included.
  if ((c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) ||
      (c >= 123 && c <= 126)) {
    return true;
  }
  const utf8proc_category_t category = utf8proc_category(c);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

bool IsIdeograph(int32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B820 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

absl::StatusOr<CodePoints> Decode(absl::string_view text) {
  CodePoints code_points;
  code_points.reserve(text.size());
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (size_t i = 0; i < text.size();) {
    utf8proc_int32_t c = -1;
    const utf8proc_ssize_t used =
        utf8proc_iterate(bytes + i, static_cast<utf8proc_ssize_t>(text.size() - i), &c);
    if (used <= 0) {
      return absl::InvalidArgumentError(absl::StrCat("text is not valid UTF-8 at byte ", i));
    }
    code_points.push_back(c);
    i += used;
  }
  return code_points;
}

// Canonical decomposition of a whole word in canonical order, marks (Mn) dropped.
CodePoints StripAccents(const CodePoints& word) {
  CodePoints decomposed;
  int boundary = 0;
  for (int32_t c : word) {
    utf8proc_int32_t parts[kMaxSplit];
    const utf8proc_ssize_t count =
        utf8proc_decompose_char(c, parts, kMaxSplit, UTF8PROC_DECOMPOSE, &boundary);
    for (utf8proc_ssize_t i = 0; i < count && i < static_cast<utf8proc_ssize_t>(kMaxSplit); ++i) {
      // What is left after the marks are gone keeps its order: only marks are ever reordered.
      if (utf8proc_category(parts[i]) != UTF8PROC_CATEGORY_MN) decomposed.push_back(parts[i]);
    }
  }
  return decomposed;
}

// Lower case of one code point as Python's str.lower() has it for a word: every mapping is one to
// one but that of U+0130, whose second code point is a mark.
void AppendLower(int32_t c, CodePoints& out) {
  if (c == 0x130) {
    out.push_back('i');
    out.push_back(0x307);
    return;
  }
  out.push_back(utf8proc_tolower(c));
}

CodePoints Lower(const CodePoints& word) {
  CodePoints lowered;
  lowered.reserve(word.size());
  for (size_t i = 0; i < word.size(); ++i) {
    // Capital sigma at the end of a word is the final form.
    const auto is_letter = [&](size_t k) {
      const utf8proc_category_t category = utf8proc_category(word[k]);
      return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
    };
    if (word[i] == 0x3A3 && i > 0 && is_letter(i - 1) &&
        (i + 1 == word.size() || !is_letter(i + 1))) {
      lowered.push_back(0x3C2);
    } else {
      AppendLower(word[i], lowered);
    }
  }
  return lowered;
}

void AppendUtf8(int32_t c, std::string& out) {
  utf8proc_uint8_t buffer[4];
  const utf8proc_ssize_t size = utf8proc_encode_char(c, buffer);
  out.append(reinterpret_cast<const char*>(buffer), size);
}

}  // namespace

absl::StatusOr<std::unique_ptr<WordPieceTokenizer>> WordPieceTokenizer::Load(
    const std::string& vocab_path, const Options& options) {
  std::ifstream stream(vocab_path);
  if (!stream) return absl::NotFoundError(absl::StrCat("cannot open ", vocab_path));
  std::vector<std::string> pieces;
  absl::flat_hash_map<std::string, int32_t> ids;
  std::string line;
  while (std::getline(stream, line)) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    const int32_t id = static_cast<int32_t>(pieces.size());
    if (!ids.emplace(line, id).second) {
      return absl::InvalidArgumentError(
          absl::StrCat(vocab_path, ": line ", id + 1, " repeats \"", line, "\""));
    }
    pieces.push_back(line);
  }
  for (const char* special : {"[UNK]", "[CLS]", "[SEP]"}) {
    if (!ids.contains(special)) {
      return absl::InvalidArgumentError(
          absl::StrCat(vocab_path, " has no ", special, "; it is not a BERT vocabulary"));
    }
  }
  return std::unique_ptr<WordPieceTokenizer>(
      new WordPieceTokenizer(options, std::move(pieces), std::move(ids)));
}

WordPieceTokenizer::WordPieceTokenizer(Options options, std::vector<std::string> pieces,
                                       absl::flat_hash_map<std::string, int32_t> ids)
    : options_(options),
      pieces_(std::move(pieces)),
      ids_(std::move(ids)),
      unk_(ids_.at("[UNK]")),
      cls_(ids_.at("[CLS]")),
      sep_(ids_.at("[SEP]")) {}

std::vector<CodePoints> WordPieceTokenizer::SplitWords(const CodePoints& code_points) const {
  // White space splits words, punctuation is a word of its own. Accents are stripped in between,
  // as a stripped word may then split at what was no punctuation before.
  std::vector<CodePoints> spaced(1);
  for (int32_t c : code_points) {
    if (c == 0 || c == 0xFFFD || IsControl(c)) continue;
    if (IsWhitespace(c)) {
      if (!spaced.back().empty()) spaced.emplace_back();
    } else if (options_.split_chinese && IsIdeograph(c)) {
      if (!spaced.back().empty()) spaced.emplace_back();
      spaced.back().push_back(c);
      spaced.emplace_back();
    } else {
      spaced.back().push_back(c);
    }
  }
  std::vector<CodePoints> words;
  for (CodePoints& word : spaced) {
    if (options_.lower_case) word = StripAccents(Lower(word));
    bool open = false;  // whether the last word may take another code point
    for (int32_t c : word) {
      if (IsWhitespace(c)) {
        open = false;
      } else if (IsPunctuation(c)) {
        words.push_back({c});
        open = false;
      } else {
        if (!open) words.emplace_back();
        words.back().push_back(c);
        open = true;
      }
    }
  }
  return words;
}

void WordPieceTokenizer::AppendPieces(const CodePoints& word, std::vector<int32_t>& ids) const {
  if (word.size() > kMaxWordLength) {
    ids.push_back(unk_);
    return;
  }
  // Byte offset of each code point in the word's UTF-8, and its end.
  std::string utf8;
  std::vector<size_t> offsets;
  for (int32_t c : word) {
    offsets.push_back(utf8.size());
    AppendUtf8(c, utf8);
  }
  offsets.push_back(utf8.size());

  const size_t first_piece = ids.size();
  for (size_t start = 0; start < word.size();) {
    int32_t found = -1;
    size_t end = word.size();
    for (; end > start; --end) {
      const absl::string_view part =
          absl::string_view(utf8).substr(offsets[start], offsets[end] - offsets[start]);
      const auto it = start == 0 ? ids_.find(part) : ids_.find(absl::StrCat("##", part));
      if (it != ids_.end()) {
        found = it->second;
        break;
      }
    }
    if (found < 0) {  // one part that does not decompose makes the whole word unknown
      ids.resize(first_piece);
      ids.push_back(unk_);
      return;
    }
    ids.push_back(found);
    start = end;
  }
}

absl::StatusOr<std::vector<int32_t>> WordPieceTokenizer::Tokenize(absl::string_view text) const {
  ASSIGN_OR_RETURN(const CodePoints code_points, Decode(text));
  std::vector<int32_t> ids;
  for (const CodePoints& word : SplitWords(code_points)) AppendPieces(word, ids);
  return ids;
}

absl::StatusOr<WordPieceTokenizer::Encoding> WordPieceTokenizer::Encode(absl::string_view text,
                                                                        int max_positions) const {
  ASSIGN_OR_RETURN(const std::vector<int32_t> pieces, Tokenize(text));
  Encoding encoding;
  const size_t kept = std::min(pieces.size(), static_cast<size_t>(max_positions - 2));
  encoding.truncated = kept < pieces.size();
  encoding.ids.reserve(max_positions);
  encoding.ids.push_back(cls_);
  encoding.ids.insert(encoding.ids.end(), pieces.begin(), pieces.begin() + kept);
  encoding.ids.push_back(sep_);
  encoding.length = static_cast<int32_t>(encoding.ids.size());
  encoding.ids.resize(max_positions, 0);
  return encoding;
}

}  // namespace dime
