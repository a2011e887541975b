// Tokenizer and BERT on real weights against what HuggingFace's give (tests/golden/minilm.json,
// made by make_minilm_golden.py), for the MiniLM that scripts/setup.sh brings.
#include <openssl/evp.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"
#include "model/dime/network.h"
#include "nlohmann/json.hpp"

namespace dime {
namespace {

class MiniLmParityTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kMiniLm)) GTEST_SKIP() << "no MiniLM at " << kMiniLm;
    golden_ = nlohmann::json::parse(std::ifstream(DIME_SOURCE_DIR "/tests/golden/minilm.json"));
  }
  static constexpr char kMiniLm[] = DIME_MINILM_DIR;
  nlohmann::json golden_;
};

TEST_F(MiniLmParityTest, TokenIdsOfTenThousandCaptions) {
  const std::string captions = DIME_SOURCE_DIR "/../shared/data/captions/";
  if (!std::filesystem::exists(captions)) GTEST_SKIP() << "no captions at " << captions;
  // HuggingFace's tokenizer splits ideographs by default.
  const auto tokenizer =
      WordPieceTokenizer::Load(std::string(kMiniLm) + "/vocab.txt", {.split_chinese = true});
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  for (const auto& [name, expected] : golden_["token_digests"].items()) {
    std::ifstream stream(captions + name);
    std::string line, bytes;
    int count = 0;
    while (std::getline(stream, line)) {
      auto ids = (*tokenizer)->Encode(line, 512);
      ASSERT_TRUE(ids.ok()) << ids.status();
      ids->ids.resize(ids->length);
      ids->ids.push_back(-1);
      bytes.append(reinterpret_cast<const char*>(ids->ids.data()), 4 * ids->ids.size());
      ++count;
    }
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    ASSERT_EQ(EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr), 1);
    EXPECT_EQ(count, expected["captions"].get<int>());
    EXPECT_EQ(absl::BytesToHexString({reinterpret_cast<const char*>(digest), size}),
              expected["sha256"].get<std::string>())
        << name;
  }
}

TEST_F(MiniLmParityTest, LastLayerStates) {
  const auto backbone = TextBackbone::Load(kMiniLm, {.split_chinese = true}, torch::kCPU);
  ASSERT_TRUE(backbone.ok()) << backbone.status();
  std::vector<std::string> texts;
  for (const auto& sentence : golden_["sentences"]) texts.push_back(sentence["text"]);
  const auto tokens = TokenBatch::Make(*backbone->tokenizer, texts, golden_["max_words"]);
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  c10::InferenceMode inference;
  const torch::Tensor states = Bert(backbone->bert)->forward(tokens->ids, tokens->lengths);
  const int step = golden_["channel_step"];
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto& expected = golden_["sentences"][i];
    ASSERT_EQ(tokens->lengths[i].item<int64_t>(), static_cast<int64_t>(expected["ids"].size()));
    for (size_t t = 0; t < expected["states"].size(); ++t) {
      EXPECT_EQ(tokens->ids[i][t].item<int64_t>(), expected["ids"][t].get<int64_t>());
      for (size_t c = 0; c < expected["states"][t].size(); ++c) {
        EXPECT_NEAR(states[i][t][c * step].item<float>(), expected["states"][t][c].get<float>(),
                    1e-4)
            << texts[i] << ", token " << t << ", channel " << c * step;
      }
    }
  }
}

}  // namespace
}  // namespace dime
