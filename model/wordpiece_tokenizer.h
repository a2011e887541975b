#ifndef DIME_MODEL_WORDPIECE_TOKENIZER_H_
#define DIME_MODEL_WORDPIECE_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace dime {

// BERT's own tokenisation: the basic tokenizer (clean, lower-case, NFD with category Mn dropped,
// split on white space and punctuation), then greedy longest-match-first WordPiece with "##"
// continuations; [UNK] for a word of over 100 characters or one that does not decompose
// (dime-model section 1: "Text"). Immutable, hence thread-safe.
class WordPieceTokenizer {
 public:
  struct Options {
    bool lower_case = true;      // also strips accents, as BERT's uncased models do
    bool split_chinese = false;  // a word for each CJK ideograph; the published models do not
  };
  // A caption as the network takes it.
  struct Encoding {
    std::vector<int32_t> ids;  // (max_positions): [CLS] pieces [SEP], padded with id 0
    int32_t length = 0;        // tokens, [CLS] and [SEP] included
    bool truncated = false;    // pieces were cut to fit
  };

  // `vocab_path`: a piece a line, its id the line's number from 0. NOT_FOUND, or INVALID_ARGUMENT
  // if [UNK], [CLS] or [SEP] is missing or a piece is there twice.
  static absl::StatusOr<std::unique_ptr<WordPieceTokenizer>> Load(const std::string& vocab_path,
                                                                  const Options& options);

  int64_t vocab_size() const { return static_cast<int64_t>(pieces_.size()); }
  // The pieces of a text, without [CLS] and [SEP]. INVALID_ARGUMENT for invalid UTF-8.
  absl::StatusOr<std::vector<int32_t>> Tokenize(absl::string_view text) const;
  const std::string& Piece(int32_t id) const { return pieces_[id]; }
  // `max_positions` >= 2.
  absl::StatusOr<Encoding> Encode(absl::string_view text, int max_positions) const;

 private:
  WordPieceTokenizer(Options options, std::vector<std::string> pieces,
                     absl::flat_hash_map<std::string, int32_t> ids);

  // Words of the basic tokenizer, each a run of code points.
  std::vector<std::vector<int32_t>> SplitWords(const std::vector<int32_t>& code_points) const;
  void AppendPieces(const std::vector<int32_t>& word, std::vector<int32_t>& ids) const;

  const Options options_;
  const std::vector<std::string> pieces_;  // by id
  const absl::flat_hash_map<std::string, int32_t> ids_;
  int32_t unk_ = 0, cls_ = 0, sep_ = 0;
};

}  // namespace dime

#endif  // DIME_MODEL_WORDPIECE_TOKENIZER_H_
