// The kernels against the modules: the same scores and path weights up to bfloat16's rounding, for
// every norm and for odd shapes, and the same bits whatever else is in a call.
#include "model/kernel_scorer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/dime/direction_model.h"
#include "model/dime/interaction_weights_reader.h"
#include "model/dime_model.h"

namespace dime {
namespace {

using kernels::Instructions;

struct Sizes {
  int regions = 7;
  int words = 10;
  int embed_size = 24;
  int num_heads = 3;
  int feed_forward_size = 40;
  int router_size = 20;
};
constexpr Sizes kFull = {36, 32, 256, 16, 512, 512};

std::vector<Instructions> SupportedInstructions() {
  std::vector<Instructions> supported;
  for (Instructions instructions : {Instructions::kAmx, Instructions::kAvx512Bf16}) {
    if (kernels::IsSupported(instructions)) supported.push_back(instructions);
  }
  return supported;
}

// One direction with random weights and items, and the kernels made of it.
class Subject {
 public:
  static constexpr int kImages = 11, kCaptions = 9;

  Subject(Direction direction, const Sizes& sizes, const std::string& norm = "clipped_l2norm")
      : direction_(direction), sizes_(sizes) {
    torch::manual_seed(7);
    config_.embed_size = sizes.embed_size;
    config_.feature_dim = 5;
    config_.num_heads = sizes.num_heads;
    config_.feed_forward_size = sizes.feed_forward_size;
    config_.router_size = sizes.router_size;
    config_.raw_feature_norm = norm;
    config_.lambda_softmax = direction == Direction::kI2t ? 4 : 9;
    model_ = DirectionModel(direction, config_, 6);
    torch::NoGradGuard no_grad;
    for (auto& buffer : model_->named_buffers()) {
      if (buffer.key() == "interaction.bn.running_mean") buffer.value().uniform_(-0.1, 0.1);
      if (buffer.key() == "interaction.bn.running_var") buffer.value().uniform_(0.5, 2);
    }
    model_->eval();
    info_.num_regions = sizes.regions;
    info_.max_words = sizes.words;
    info_.directions[static_cast<int>(direction)].embed_size = sizes.embed_size;
    images_ = MakeItems(Modality::kImage, kImages, sizes.regions);
    captions_ = MakeItems(Modality::kCaption, kCaptions, sizes.words);
  }

  // Sets the routers so that gates differ from pair to pair and about half of them are shut.
  void ShutGates() {
    torch::NoGradGuard no_grad;
    for (auto& parameter : model_->named_parameters()) {
      if (parameter.key().find("router.mlp.2.bias") != std::string::npos) parameter.value().zero_();
      if (parameter.key().find("router.mlp.2.weight") != std::string::npos) {
        parameter.value().mul_(20);
      }
    }
  }

  std::unique_ptr<KernelScorer> MakeScorer(Instructions instructions,
                                           const KernelScorer::Options& options = {}) const {
    InteractionWeightsReader reader(*model_);
    const bool i2t = direction_ == Direction::kI2t;
    reader.shape.positions = i2t ? sizes_.regions : sizes_.words;
    reader.shape.max_context = i2t ? sizes_.words : sizes_.regions;
    KernelScorer::Kernels kernels;
    kernels[static_cast<int>(direction_)] =
        kernels::InteractionKernel::Create(reader.shape, reader.weights, instructions);
    return std::make_unique<KernelScorer>(std::move(kernels), info_, options);
  }

  // The modules' scores (images, captions) and path weights (images, captions, 36).
  InteractionImpl::Output Expected() {
    torch::NoGradGuard no_grad;
    const auto of = [this](const EncodedItems& items) { return items.view().of(direction_); };
    const int64_t e = sizes_.embed_size;
    const auto tensor = [](absl::Span<const float> values, std::vector<int64_t> shape) {
      return torch::from_blob(const_cast<float*>(values.data()), shape);
    };
    torch::Tensor mask = torch::zeros({1, kCaptions, sizes_.words}, torch::kBool);
    for (int c = 0; c < kCaptions; ++c) mask[0][c].narrow(0, 0, captions_.lengths[c]).fill_(true);
    return model_->Score(tensor(of(images_).local, {kImages, 1, sizes_.regions, e}),
                         tensor(of(images_).global, {kImages, 1, e}),
                         tensor(of(captions_).local, {1, kCaptions, sizes_.words, e}),
                         tensor(of(captions_).global, {1, kCaptions, e}), mask);
  }

  ScoringRequest Request(const FeatureBank* bank, int64_t query, absl::Span<const int64_t> rows,
                         bool want_paths = false) const {
    const EncodedItemsView items =
        bank->modality() == Modality::kImage ? captions_.view() : images_.view();
    return {.query = items.Slice(query, 1),
            .bank = bank,
            .rows = rows,
            .mode = direction_ == Direction::kI2t ? ScoreMode::kI2t : ScoreMode::kT2i,
            .want_paths = want_paths};
  }

  const EncodedItems& images() const { return images_; }
  const EncodedItems& captions() const { return captions_; }
  int d() const { return static_cast<int>(direction_); }

 private:
  EncodedItems MakeItems(Modality modality, int64_t count, int positions) {
    EncodedItems items{.modality = modality, .count = count, .positions = positions};
    for (int64_t i = 0; i < count; ++i) {
      items.lengths.push_back(
          modality == Modality::kImage ? positions : 1 + static_cast<int32_t>(i * 5 % positions));
    }
    DirectionFeatures& part = items.directions[d()];
    part.embed_size = sizes_.embed_size;
    const auto unit = [](std::vector<int64_t> shape) {
      const torch::Tensor x = torch::randn(shape);
      return (x / x.norm(2, -1, true)).contiguous();
    };
    const torch::Tensor local = unit({count * positions, sizes_.embed_size});
    const torch::Tensor global = unit({count, sizes_.embed_size});
    part.local.assign(local.data_ptr<float>(), local.data_ptr<float>() + local.numel());
    part.global.assign(global.data_ptr<float>(), global.data_ptr<float>() + global.numel());
    part.global[0] = 0;  // where the guide is zero, the guidance cell is too
    return items;
  }

  const Direction direction_;
  const Sizes sizes_;
  DirectionConfig config_;
  DirectionModel model_{nullptr};
  ModelInfo info_;
  EncodedItems images_, captions_;
};

std::vector<int64_t> AllRows(int64_t count) {
  std::vector<int64_t> rows(count);
  for (int64_t i = 0; i < count; ++i) rows[i] = i;
  return rows;
}

// Holds every score and path weight of a subject, from both searches, against the modules'.
void ExpectAgreement(Subject& subject, const KernelScorer& scorer, float tolerance) {
  const InteractionImpl::Output expected = subject.Expected();
  const torch::Tensor scores = expected.scores.contiguous();
  const torch::Tensor paths = expected.path_weights.contiguous();
  for (const EncodedItems* items : {&subject.images(), &subject.captions()}) {
    const bool images = items->modality == Modality::kImage;
    const auto bank = scorer.MakeBank(items->view());
    ASSERT_TRUE(bank.ok()) << bank.status();
    const std::vector<int64_t> rows = AllRows(items->count);
    const int queries = images ? Subject::kCaptions : Subject::kImages;
    std::vector<ScoringRequest> requests;
    for (int q = 0; q < queries; ++q) {
      requests.push_back(subject.Request(bank->get(), q, rows, /*want_paths=*/q % 2 == 0));
    }
    const auto results = scorer.Score(requests);
    ASSERT_TRUE(results.ok()) << results.status();
    for (int q = 0; q < queries; ++q) {
      const PairScores& answer = (*results)[q];
      ASSERT_EQ(answer.scores[subject.d()].size(), rows.size());
      EXPECT_EQ(answer.paths[subject.d()].size(), q % 2 == 0 ? rows.size() * kNumPathWeights : 0);
      for (size_t k = 0; k < rows.size(); ++k) {
        const int64_t i = images ? rows[k] : q, c = images ? q : rows[k];
        EXPECT_NEAR(answer.scores[subject.d()][k], scores[i][c].item<float>(), tolerance)
            << "image " << i << ", caption " << c;
        if (q % 2 != 0) continue;
        for (int w = 0; w < kNumPathWeights; ++w) {
          EXPECT_NEAR(answer.paths[subject.d()][k * kNumPathWeights + w],
                      paths[i][c][w].item<float>(), 3 * tolerance)
              << "image " << i << ", caption " << c << ", weight " << w;
        }
      }
    }
  }
}

class KernelScorerTest : public testing::TestWithParam<std::tuple<Instructions, Direction>> {
 protected:
  Instructions instructions() const { return std::get<0>(GetParam()); }
  Direction direction() const { return std::get<1>(GetParam()); }
};

TEST_P(KernelScorerTest, AgreesWithTheModulesForEveryNorm) {
  for (const char* norm :
       {"clipped_l2norm", "l2norm", "clipped_l1norm", "l1norm", "clipped", "no_norm", "softmax"}) {
    SCOPED_TRACE(norm);
    Subject subject(direction(), Sizes(), norm);
    ExpectAgreement(subject, *subject.MakeScorer(instructions()), 0.01f);
  }
}

TEST_P(KernelScorerTest, AgreesWithTheModulesForOddShapes) {
  const Sizes shapes[] = {
      {.regions = 1, .words = 2, .embed_size = 8, .num_heads = 8},
      {.regions = 16, .words = 33, .embed_size = 32, .num_heads = 1, .router_size = 33},
      {.regions = 70, .words = 5, .embed_size = 33, .num_heads = 11, .feed_forward_size = 1},
      {.regions = 17, .words = 80, .embed_size = 64, .num_heads = 4, .feed_forward_size = 128},
      {.regions = 36, .words = 24, .embed_size = 160, .num_heads = 2},
  };
  for (const Sizes& sizes : shapes) {
    SCOPED_TRACE(sizes.embed_size);
    Subject subject(direction(), sizes);
    ExpectAgreement(subject, *subject.MakeScorer(instructions()), 0.015f);
  }
}

TEST_P(KernelScorerTest, AgreesWithTheModulesAtFullSize) {
  Subject subject(direction(), kFull);
  ExpectAgreement(subject, *subject.MakeScorer(instructions()), 0.005f);
}

TEST_P(KernelScorerTest, ShutGatesSkipTheirCellsAndChangeNothing) {
  for (const Sizes& sizes : {Sizes(), kFull}) {
    Subject subject(direction(), sizes);
    subject.ShutGates();
    const auto scorer = subject.MakeScorer(instructions());
    ExpectAgreement(subject, *scorer, 0.03f);
    const RoutingCounts counts = scorer->routing_counts();
    // One cell of layer 0 and three of each further layer, for each pair and each of two searches.
    EXPECT_EQ(counts.run + counts.skipped, 2 * 7 * Subject::kImages * Subject::kCaptions);
    EXPECT_GT(counts.skipped, counts.run / 20);
    EXPECT_GT(counts.run, 0);
  }
}

TEST_P(KernelScorerTest, AScoreIsTheSameBitsWhateverElseIsInTheCall) {
  Subject subject(direction(), Sizes());
  subject.ShutGates();
  const auto scorer = subject.MakeScorer(instructions(), {.threads = 2});
  const auto bank = scorer->MakeBank(subject.images().view());
  ASSERT_TRUE(bank.ok());
  const std::vector<int64_t> all = AllRows(Subject::kImages);
  std::vector<std::vector<float>> alone(Subject::kCaptions);
  for (int q = 0; q < Subject::kCaptions; ++q) {
    for (const int64_t row : all) {
      const ScoringRequest request = subject.Request(bank->get(), q, {&row, 1});
      alone[q].push_back((*scorer->Score({&request, 1}))[0].scores[subject.d()][0]);
    }
  }
  // Many requests at once, each with the rows turned and some of them twice.
  std::vector<std::vector<int64_t>> rows(Subject::kCaptions);
  std::vector<ScoringRequest> requests;
  for (int q = 0; q < Subject::kCaptions; ++q) {
    rows[q] = all;
    std::rotate(rows[q].begin(), rows[q].begin() + q, rows[q].end());
    rows[q].insert(rows[q].end(), all.begin(), all.begin() + q);
    requests.push_back(subject.Request(bank->get(), q, rows[q], q == 3));
  }
  const auto together = scorer->Score(requests);
  ASSERT_TRUE(together.ok());
  for (int q = 0; q < Subject::kCaptions; ++q) {
    for (size_t k = 0; k < rows[q].size(); ++k) {
      EXPECT_EQ((*together)[q].scores[subject.d()][k], alone[q][rows[q][k]]);
    }
  }
}

TEST_P(KernelScorerTest, WithoutRoomForPreparedItemsTheScoresAreTheSame) {
  Subject subject(direction(), Sizes());
  const auto roomy = subject.MakeScorer(instructions());
  const auto bare = subject.MakeScorer(instructions(), {.prepared_bytes = 0});
  for (const EncodedItems* items : {&subject.images(), &subject.captions()}) {
    const auto kept = roomy->MakeBank(items->view());
    const auto fresh = bare->MakeBank(items->view());
    const std::vector<int64_t> rows = AllRows(items->count);
    const ScoringRequest with = subject.Request(kept->get(), 1, rows);
    const ScoringRequest without = subject.Request(fresh->get(), 1, rows);
    const auto first = roomy->Score({&with, 1});
    const auto again = roomy->Score({&with, 1});  // now out of the bank
    const auto scratch = bare->Score({&without, 1});
    EXPECT_EQ((*first)[0].scores, (*again)[0].scores);
    EXPECT_EQ((*first)[0].scores, (*scratch)[0].scores);
  }
}

TEST_P(KernelScorerTest, WhatDoesNotFitIsRefused) {
  Subject subject(direction(), Sizes());
  const auto scorer = subject.MakeScorer(instructions());
  const auto other = subject.MakeScorer(instructions());
  const auto bank = scorer->MakeBank(subject.images().view());
  const std::vector<int64_t> beyond = {Subject::kImages};
  const ScoringRequest request = subject.Request(bank->get(), 0, beyond);
  EXPECT_EQ(scorer->Score({&request, 1}).status().code(), absl::StatusCode::kInvalidArgument);
  ScoringRequest wrong_mode = subject.Request(bank->get(), 0, {});
  wrong_mode.mode = ScoreMode::kEnsemble;
  EXPECT_EQ(scorer->Score({&wrong_mode, 1}).status().code(), absl::StatusCode::kInvalidArgument);
  EncodedItems wide = subject.images();
  wide.directions[subject.d()].embed_size += 1;
  EXPECT_EQ(scorer->MakeBank(wide.view()).status().code(), absl::StatusCode::kInvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(Instructions, KernelScorerTest,
                         testing::Combine(testing::ValuesIn(SupportedInstructions()),
                                          testing::ValuesIn(kDirections)),
                         [](const auto& info) {
                           return std::string(kernels::InstructionsName(std::get<0>(info.param))) +
                                  std::string(DirectionName(std::get<1>(info.param)));
                         });
// Where the processor has neither, there is nothing to hold against the modules.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(KernelScorerTest);

constexpr char kTiny[] = DIME_SOURCE_DIR "/tests/golden/tiny/model";

TEST(ScorerChoiceTest, AModelSaysWhatScores) {
  const auto modules = DimeModel::Load(kTiny, {.device = "cpu", .scorer = "modules"});
  ASSERT_TRUE(modules.ok()) << modules.status();
  EXPECT_EQ((*modules)->info().scorer, "modules");
  const auto chosen = DimeModel::Load(kTiny, {.device = "cpu", .scorer = "auto"});
  ASSERT_TRUE(chosen.ok()) << chosen.status();
  const std::vector<Instructions> supported = SupportedInstructions();
  EXPECT_EQ((*chosen)->info().scorer,
            supported.empty() ? "modules" : kernels::InstructionsName(supported.front()));
}

TEST(ScorerChoiceTest, AnUnknownScorerIsRefusedByName) {
  const auto model = DimeModel::Load(kTiny, {.device = "cpu", .scorer = "abacus"});
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(model.status().message()), testing::HasSubstr("\"abacus\""));
}

}  // namespace
}  // namespace dime
