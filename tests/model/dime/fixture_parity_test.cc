// The modules against what the published model computes (../shared/fixtures/dime-toy).
#include <torch/torch.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "index/precomputed_dataset.h"
#include "model/dime/losses.h"
#include "model/dime/network.h"
#include "model/dime/similarity.h"
#include "model/retrieval_metrics.h"
#include "nlohmann/json.hpp"
#include "tests/model/dime/npz_reader.h"

namespace dime {
namespace {

constexpr double kTolerance = 1e-4;
const char kFixture[] = DIME_SOURCE_DIR "/../shared/fixtures/dime-toy";

double MaxDifference(const torch::Tensor& a, const torch::Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return (a - b).abs().max().item<double>();
}

class FixtureParityTest : public testing::TestWithParam<Direction> {
 protected:
  // Converts both checkpoints once: the parity holds for the whole way from the published file.
  static void SetUpTestSuite() {
    if (!std::filesystem::exists(kFixture)) return;
    const std::string out = testing::TempDir() + "/dime_toy_model";
    const std::string command =
        std::string("python3 " DIME_SOURCE_DIR "/scripts/convert_checkpoint.py ") + kFixture +
        "/i2t.pth.tar " + kFixture + "/t2i.pth.tar --bert " + kFixture + "/bert --out " + out +
        " --force 2>/dev/null";
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
    auto network = Network::Load(out, torch::kCPU);
    ASSERT_TRUE(network.ok()) << network.status();
    network_ = network->release();
    auto dataset = PrecomputedDataset::Open(std::string(kFixture) + "/toy_precomp", "test");
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    dataset_ = dataset->release();
    for (Direction direction : kDirections) {
      auto split = EncodeSplit(network_->direction(direction), network_->backbone(direction),
                               network_->config().max_words, torch::kCPU, *dataset_, std::nullopt,
                               [](int64_t) {});
      ASSERT_TRUE(split.ok()) << split.status();
      splits_[direction] = *split;
      similarity_[direction] =
          Similarity(network_->direction(direction), *split, 0, dataset_->num_images(), 0,
                     dataset_->num_captions(), [](int64_t) {});
    }
  }
  static void TearDownTestSuite() {
    delete network_;
    delete dataset_;
    network_ = nullptr;
  }
  void SetUp() override {
    if (network_ == nullptr) GTEST_SKIP() << "no reference data at " << kFixture;
    c10::InferenceMode inference;
    expected_ = ReadNpz(std::string(kFixture) + "/" + std::string(DirectionName(GetParam())) +
                        "_expected.npz");
  }

  static inline Network* network_ = nullptr;
  static inline PrecomputedDataset* dataset_ = nullptr;
  static inline std::map<Direction, EncodedSplit> splits_;
  static inline std::map<Direction, torch::Tensor> similarity_;
  std::map<std::string, torch::Tensor> expected_;
};

TEST_P(FixtureParityTest, TokenIdsAreEqual) {
  const auto tokens = TokenBatch::Make(*network_->backbone(GetParam()).tokenizer,
                                       dataset_->captions(), network_->config().max_words);
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_TRUE(tokens->ids.equal(expected_.at("input_ids").to(torch::kLong)));
  EXPECT_TRUE(tokens->lengths.equal(expected_.at("lengths").to(torch::kLong)));
}

TEST_P(FixtureParityTest, EncodersAgree) {
  const EncodedSplit& split = splits_.at(GetParam());
  EXPECT_LT(MaxDifference(split.sentence, expected_.at("sentence")), kTolerance);
  EXPECT_LT(MaxDifference(split.words, expected_.at("words")), kTolerance);
  EXPECT_LT(MaxDifference(split.image, expected_.at("image")), kTolerance);
  EXPECT_LT(MaxDifference(split.regions, expected_.at("regions")), kTolerance);
}

TEST_P(FixtureParityTest, SimilarityAgrees) {
  EXPECT_LT(MaxDifference(similarity_.at(GetParam()), expected_.at("similarity")), kTolerance);
}

TEST_P(FixtureParityTest, PathWeightsAgree) {
  c10::InferenceMode inference;
  const EncodedSplit& split = splits_.at(GetParam());
  const InteractionImpl::Output output =
      network_->direction(GetParam())
          .Score(split.regions.unsqueeze(1), split.image.unsqueeze(1), split.words.unsqueeze(0),
                 split.sentence.unsqueeze(0), split.word_mask.unsqueeze(0));
  EXPECT_LT(MaxDifference(output.path_weights, expected_.at("paths")), kTolerance);
}

// Two images share a caption: a tie that rounding must not settle, or ranks would depend on the
// machine.
TEST_P(FixtureParityTest, EqualCaptionsScoreEqually) {
  const std::vector<std::string>& captions = dataset_->captions();
  int found = 0;
  for (size_t a = 0; a < captions.size(); ++a) {
    for (size_t b = a + 1; b < captions.size(); ++b) {
      if (captions[a] != captions[b]) continue;
      ++found;
      const torch::Tensor& scores = similarity_.at(GetParam());
      EXPECT_TRUE(scores.select(1, a).equal(scores.select(1, b))) << captions[a];
    }
  }
  EXPECT_GT(found, 0);
}

// One pair at a time gives what all pairs at once give.
TEST_P(FixtureParityTest, PairsDoNotDependOnTheirBlock) {
  c10::InferenceMode inference;
  const EncodedSplit& s = splits_.at(GetParam());
  for (int64_t i : {0, 7, 19}) {
    for (int64_t c : {0, 33, 99}) {
      const float alone =
          network_->direction(GetParam())
              .Score(s.regions[i], s.image[i], s.words[c], s.sentence[c], s.word_mask[c])
              .scores.item<float>();
      EXPECT_NEAR(alone, similarity_.at(GetParam())[i][c].item<float>(), 1e-5);
    }
  }
}

TEST_P(FixtureParityTest, MetricsAgree) {
  const nlohmann::json expected =
      nlohmann::json::parse(std::ifstream(std::string(kFixture) + "/metrics.json"));
  const auto check = [&](const torch::Tensor& similarity, const char* name) {
    const RetrievalMetrics metrics = ComputeMetrics(
        {similarity.data_ptr<float>(), static_cast<size_t>(similarity.numel())},
        dataset_->num_images(), dataset_->num_captions(), dataset_->captions_per_image());
    const auto row = [](const RankMetrics& m) {
      return std::vector<double>{m.r1, m.r5, m.r10, m.median_rank, m.mean_rank};
    };
    const auto expect = [&](const RankMetrics& actual, const char* side) {
      const auto wanted = expected[name][side].get<std::vector<double>>();
      for (size_t i = 0; i < wanted.size(); ++i) {
        EXPECT_NEAR(row(actual)[i], wanted[i], 1e-9) << name << " " << side << " " << i;
      }
    };
    expect(metrics.image_to_text, "image_to_text");
    expect(metrics.text_to_image, "text_to_image");
  };
  check(similarity_.at(GetParam()), std::string(DirectionName(GetParam())).c_str());
  check((similarity_.at(Direction::kI2t) + similarity_.at(Direction::kT2i)) / 2, "ensemble");
}

TEST_P(FixtureParityTest, LossesAndGradientAgree) {
  const nlohmann::json expected = nlohmann::json::parse(std::ifstream(
      std::string(kFixture) + "/" + std::string(DirectionName(GetParam())) + "_loss.json"));
  std::vector<int64_t> first, second;
  for (int64_t i = 0; i < 8; ++i) {
    first.push_back(5 * i);
    second.push_back(5 * i + 1);
  }
  const torch::Tensor full = similarity_.at(GetParam()).clone();
  const torch::Tensor own = full.narrow(0, 0, 8).index_select(1, torch::tensor(first));
  const torch::Tensor scores = own.clone().set_requires_grad(true);
  const torch::Tensor loss = RankingLoss(scores, 0.2, /*hardest_only=*/true);
  EXPECT_NEAR(loss.item<double>(), expected["loss_max_violation"].get<double>(), kTolerance);
  loss.backward();
  for (int64_t i = 0; i < 8; ++i) {
    for (int64_t j = 0; j < 8; ++j) {
      EXPECT_NEAR(scores.grad()[i][j].item<double>(),
                  expected["grad_max_violation"][i][j].get<double>(), kTolerance);
    }
  }
  EXPECT_NEAR(RankingLoss(own, 0.2, false).item<double>(), expected["loss_sum"].get<double>(),
              kTolerance);
  const torch::Tensor extra_texts =
      torch::cat({own, full.narrow(0, 0, 8).index_select(1, torch::tensor(second))}, 1);
  EXPECT_NEAR(RankingLoss(extra_texts, 0.2, true).item<double>(),
              expected["loss_extra_text"].get<double>(), kTolerance);
  const torch::Tensor extra_images = full.narrow(0, 0, 16).index_select(1, torch::tensor(first));
  EXPECT_NEAR(RankingLoss(extra_images, 0.2, true).item<double>(),
              expected["loss_extra_image"].get<double>(), kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Directions, FixtureParityTest, testing::ValuesIn(kDirections),
                         [](const auto& info) { return std::string(DirectionName(info.param)); });

}  // namespace
}  // namespace dime
