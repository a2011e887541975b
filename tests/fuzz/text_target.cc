#include <memory>

#include "index/text_lines.h"
#include "model/wordpiece_tokenizer.h"
#include "tests/fuzz/fuzz_target.h"

namespace dime {
namespace {

constexpr int kMaxPositions = 12;

const WordPieceTokenizer& Tokenizer() {
  static const auto& tokenizer =
      *WordPieceTokenizer::Load(
           FuzzFile("vocab.txt",
                    "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##a\nred\n##s\nstar\ncaf\n##e\n.\n,\n"),
           {})
           ->release();
  return tokenizer;
}

void Run(absl::string_view bytes) {
  size_t sum = 0;
  for (const absl::string_view line : SplitLines(bytes)) {
    FuzzRequire(line.find('\n') == absl::string_view::npos, "a line is one");
    sum += line.size();
  }
  FuzzRequire(sum <= bytes.size(), "lines are parts of the text");
  const std::string quoted = Quoted(bytes);
  FuzzRequire(IsValidUtf8(quoted) && quoted.size() >= 2 && quoted.size() <= 300,
              "what is quoted is short and UTF-8");
  const auto encoding = Tokenizer().Encode(bytes, kMaxPositions);
  FuzzRequire(encoding.ok() == IsValidUtf8(bytes), "UTF-8, and that alone, is encoded");
  if (!encoding.ok()) return;
  FuzzRequire(encoding->ids.size() == kMaxPositions && encoding->length >= 2 &&
                  encoding->length <= kMaxPositions,
              "an encoding has its sizes");
  for (const int32_t id : encoding->ids) {
    FuzzRequire(id >= 0 && id < Tokenizer().vocab_size(), "a piece is one of the vocabulary");
  }
}

}  // namespace

FuzzTarget TextTarget() {
  return {.name = "text",
          .seeds = {"A red star, two caf\xc3\xa9s.", "a\r\nb\n\nc", "\xef\xbb\xbfstars",
                    "\xe4\xb8\xa4\xe5\x8f\xaa\xe7\x8b\x97", "e\xcc\x81\xe2\x80\x8d\xf0\x9f\x98\x80",
                    std::string("a\0b\x7f\x1b[31m", 9)},
          .run = Run};
}

}  // namespace dime
