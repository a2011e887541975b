#include "model/wordpiece_tokenizer.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace dime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class WordPieceTokenizerTest : public testing::Test {
 protected:
  std::unique_ptr<WordPieceTokenizer> Make(const std::vector<std::string>& pieces,
                                           WordPieceTokenizer::Options options = {}) {
    const std::string path = testing::TempDir() + "/vocab.txt";
    std::ofstream stream(path);
    for (const std::string& piece : pieces) stream << piece << "\n";
    stream.close();
    auto tokenizer = WordPieceTokenizer::Load(path, options);
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    return *std::move(tokenizer);
  }
  std::vector<std::string> Pieces(const WordPieceTokenizer& tokenizer, const std::string& text) {
    const auto ids = tokenizer.Tokenize(text);
    EXPECT_TRUE(ids.ok()) << ids.status();
    std::vector<std::string> pieces;
    for (int32_t id : *ids) pieces.push_back(tokenizer.Piece(id));
    return pieces;
  }
  const std::vector<std::string> base_ = {"[PAD]", "[UNK]", "[CLS]", "[SEP]",  "a",
                                          "cat",   "##s",   "sit",   "##ting", "cafe",
                                          ".",     "$",     "日本",  "日",     "本"};
};

TEST_F(WordPieceTokenizerTest, LongestPiecesFirst) {
  const auto tokenizer = Make(base_);
  EXPECT_THAT(Pieces(*tokenizer, "A cats  sitting."),
              ElementsAre("a", "cat", "##s", "sit", "##ting", "."));
}

TEST_F(WordPieceTokenizerTest, CaseAccentsAndControlsFold) {
  const auto tokenizer = Make(base_);
  EXPECT_THAT(Pieces(*tokenizer, "CAF\u00c9 c\u0000at caf\u0065\u0301 c\u200bat"),
              ElementsAre("cafe", "[UNK]"));  // the text ends at its NUL
  EXPECT_THAT(Pieces(*tokenizer, "caf\u0065\u0301 c\u200bat"), ElementsAre("cafe", "cat"));
}

TEST_F(WordPieceTokenizerTest, AsciiSymbolsArePunctuation) {
  const auto tokenizer = Make(base_);
  EXPECT_THAT(Pieces(*tokenizer, "a$cat"), ElementsAre("a", "$", "cat"));
}

TEST_F(WordPieceTokenizerTest, UnknownAndOverlongWords) {
  const auto tokenizer = Make(base_);
  EXPECT_THAT(Pieces(*tokenizer, "dog cat"), ElementsAre("[UNK]", "cat"));
  EXPECT_THAT(Pieces(*tokenizer, std::string(101, 'a')), ElementsAre("[UNK]"));
}

TEST_F(WordPieceTokenizerTest, IdeographsSplitOnlyWhenAsked) {
  EXPECT_THAT(Pieces(*Make(base_), "日本"), ElementsAre("日本"));
  EXPECT_THAT(Pieces(*Make(base_, {.split_chinese = true}), "日本"), ElementsAre("日", "本"));
}

TEST_F(WordPieceTokenizerTest, EncodeCutsAndPads) {
  const auto tokenizer = Make(base_);
  const auto encoding = tokenizer->Encode("a cat", 6);
  ASSERT_TRUE(encoding.ok());
  EXPECT_THAT(encoding->ids, ElementsAre(2, 4, 5, 3, 0, 0));
  EXPECT_EQ(encoding->length, 4);
  EXPECT_FALSE(encoding->truncated);
  const auto cut = tokenizer->Encode("a cat sitting", 4);
  EXPECT_THAT(cut->ids, ElementsAre(2, 4, 5, 3));
  EXPECT_TRUE(cut->truncated);
}

TEST_F(WordPieceTokenizerTest, RefusesWhatIsNoUtf8) {
  const auto ids = Make(base_)->Tokenize("a \xff cat");
  EXPECT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(ids.status().message()), HasSubstr("byte 2"));
}

TEST_F(WordPieceTokenizerTest, RefusesAVocabularyWithoutSpecials) {
  const std::string path = testing::TempDir() + "/bad_vocab.txt";
  std::ofstream(path) << "[UNK]\na\n";
  const auto tokenizer = WordPieceTokenizer::Load(path, {});
  EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(tokenizer.status().message()), HasSubstr("[CLS]"));
}

TEST_F(WordPieceTokenizerTest, AgreesWithTheReferenceTokens) {
  const std::string fixture = DIME_SOURCE_DIR "/../shared/fixtures/dime-toy";
  if (!std::filesystem::exists(fixture)) GTEST_SKIP() << "no reference data at " << fixture;
  const auto tokenizer = WordPieceTokenizer::Load(fixture + "/bert/vocab.txt", {});
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const nlohmann::json expected = nlohmann::json::parse(std::ifstream(fixture + "/tokens.json"));
  std::ifstream captions(fixture + "/toy_precomp/test_caps.txt");
  std::string caption;
  for (const nlohmann::json& tokens : expected) {
    ASSERT_TRUE(std::getline(captions, caption));
    EXPECT_EQ(Pieces(**tokenizer, caption), tokens.get<std::vector<std::string>>()) << caption;
  }
}

}  // namespace
}  // namespace dime
