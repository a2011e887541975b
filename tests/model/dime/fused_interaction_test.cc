// Scores and gradients of FusedScores() against the modules', in float64.
#include "model/dime/fused_interaction.h"

#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"
#include "model/dime/mixed_precision.h"
#include "model/dime/tensor_ops.h"
#include "tests/model/dime/scorer_subject.h"

namespace dime {
namespace {

using kernels::Instructions;

constexpr int64_t kImages = 5, kCaptions = 4;

DirectionModel MakeModel(Direction direction, const Sizes& sizes, const std::string& norm,
                         double lambda = 0) {
  DirectionModel model = MakeRandomModel(direction, sizes, norm, lambda);
  torch::NoGradGuard no_grad;
  for (auto& parameter : model->named_parameters()) {
    // Some channels' maxima are then minima before.
    if (parameter.key() == "interaction.bn.weight") parameter.value().uniform_(-1, 1);
  }
  return model;
}

PairedItems MakeItems(const Sizes& sizes) {
  torch::manual_seed(8);
  const int64_t e = sizes.embed_size;
  return {NormalizeL2(torch::randn({kImages, sizes.regions, e}), -1),
          NormalizeL2(torch::randn({kImages, e}), -1),
          NormalizeL2(torch::randn({kCaptions, sizes.words, e}), -1),
          NormalizeL2(torch::randn({kCaptions, e}), -1),
          torch::randint(1, sizes.words + 1, {kCaptions}, torch::kLong)};
}

// What a scorer gives and the gradients of a random function of it.
struct Outcome {
  InteractionImpl::Output output;
  std::map<std::string, torch::Tensor> gradients;  // of parameters and of the items, by name
  std::map<std::string, torch::Tensor> buffers;
};

using Scorer =
    std::function<InteractionImpl::Output(DirectionModelImpl& model, const PairedItems& items)>;

Outcome RunScorer(DirectionModelImpl& model, const PairedItems& items, torch::Dtype type,
                  const Scorer& scorer) {
  model.to(type);
  model.zero_grad();
  const auto leaf = [type](const torch::Tensor& x) {
    return x.detach().clone().to(type).requires_grad_();
  };
  const PairedItems own = {leaf(items.regions), leaf(items.image), leaf(items.words),
                           leaf(items.sentence), items.word_lengths};
  Outcome outcome;
  outcome.output = scorer(model, own);
  torch::manual_seed(9);
  const torch::Tensor scores = torch::randn(outcome.output.scores.sizes()).to(type);
  const torch::Tensor paths = torch::randn(outcome.output.path_weights.sizes()).to(type);
  ((outcome.output.scores * scores).sum() + (outcome.output.path_weights * paths).sum()).backward();
  const auto keep = [&](const std::string& name, const torch::Tensor& leaf) {
    if (leaf.grad().defined()) outcome.gradients[name] = leaf.grad().clone();
  };
  for (const auto& parameter : model.named_parameters()) keep(parameter.key(), parameter.value());
  keep("regions", own.regions);
  keep("image", own.image);
  keep("words", own.words);
  keep("sentence", own.sentence);
  for (const auto& buffer : model.named_buffers()) {
    outcome.buffers[buffer.key()] = buffer.value().clone();
  }
  return outcome;
}

// Of all pairs, `times` times over.
InteractionImpl::Output ModulesScores(DirectionModelImpl& model, const PairedItems& items,
                                      int times) {
  const torch::Tensor mask =
      torch::arange(items.words.size(1)).unsqueeze(0) < items.word_lengths.unsqueeze(1);
  const InteractionImpl::Output output =
      model.Score(items.regions.unsqueeze(1), items.image.unsqueeze(1), items.words.unsqueeze(0),
                  items.sentence.unsqueeze(0), mask.unsqueeze(0));
  return {output.scores.flatten().repeat({times}),
          output.path_weights.flatten(0, 1).repeat({times, 1})};
}

InteractionImpl::Output AllFused(std::optional<Instructions> instructions,
                                 DirectionModelImpl& model, const PairedItems& items,
                                 int times = 1) {
  std::vector<ImageCaptionPair> pairs;
  for (int t = 0; t < times; ++t) {
    for (int64_t i = 0; i < items.regions.size(0); ++i) {
      for (int64_t c = 0; c < items.words.size(0); ++c) pairs.push_back({i, c});
    }
  }
  return FusedScores(model, items, pairs, instructions);
}

void ExpectNear(const torch::Tensor& actual, const torch::Tensor& expected, double tolerance,
                const std::string& what) {
  ASSERT_TRUE(actual.defined() && expected.defined()) << what;
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  const double largest = expected.abs().max().item<double>();
  const double difference = (actual.to(torch::kFloat64) - expected).abs().max().item<double>();
  EXPECT_LE(difference, tolerance * (1e-2 + largest)) << what << ", the largest of " << largest;
}

// By products of bfloat16 a position may pass another one for a maximum, and the gradient goes with
// it: they agree on the whole. Not where they vanish beside `all`, the norm of all of them.
void ExpectAlike(const torch::Tensor& actual, const torch::Tensor& expected, double all,
                 const std::string& what) {
  ASSERT_TRUE(actual.defined() && expected.defined()) << what;
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  const double difference = (actual.to(torch::kFloat64) - expected).norm().item<double>();
  EXPECT_LE(difference, 0.2 * expected.norm().item<double>() + 1e-3 * all) << what;
}

// `change` is done to the model first. Gives the share of path weights that are zero.
double ExpectAgreement(
    Instructions instructions, Direction direction, const Sizes& sizes, const std::string& norm,
    bool train, const std::function<void(DirectionModelImpl&)>& change = [](DirectionModelImpl&) {},
    double lambda = 0, int times = 1) {
  const PairedItems items = MakeItems(sizes);
  EXPECT_TRUE(CanFuseScores(items));
  const auto outcome = [&](torch::Dtype type, const Scorer& scorer) {
    DirectionModel model = MakeModel(direction, sizes, norm, lambda);
    change(*model);
    model->train(train);
    return RunScorer(*model, items, type, scorer);
  };
  const Outcome fused =
      outcome(torch::kFloat32, [=](DirectionModelImpl& model, const PairedItems& items) {
        return AllFused(instructions, model, items, times);
      });
  const Outcome modules =
      outcome(torch::kFloat64, [=](DirectionModelImpl& model, const PairedItems& items) {
        return ModulesScores(model, items, times);
      });
  const bool exact = kernels::OperandsOf(instructions) == kernels::Operands::kFloat32;
  ExpectNear(fused.output.scores, modules.output.scores, exact ? 2e-5 : 2e-2, "scores");
  ExpectNear(fused.output.path_weights, modules.output.path_weights, exact ? 2e-5 : 2e-2, "paths");
  double squares = 0;
  for (const auto& [name, gradient] : modules.gradients) {
    squares += gradient.square().sum().item<double>();
  }
  for (const auto& [name, gradient] : modules.gradients) {
    if (fused.gradients.count(name) == 0) {
      ADD_FAILURE() << name << " has no gradient";
    } else if (exact) {
      ExpectNear(fused.gradients.at(name), gradient, 3e-4, name);
    } else {
      ExpectAlike(fused.gradients.at(name), gradient, std::sqrt(squares), name);
    }
  }
  for (const auto& [name, buffer] : modules.buffers) {
    ExpectNear(fused.buffers.at(name), buffer, exact ? 1e-5 : 1e-2, name);
  }
  return (modules.output.path_weights == 0).to(torch::kFloat64).mean().item<double>();
}

class FusedInteractionTest : public testing::TestWithParam<InstructionsAndDirection> {
 protected:
  Instructions instructions() const { return std::get<0>(GetParam()); }
  Direction direction() const { return std::get<1>(GetParam()); }
  InteractionImpl::Output Fused(DirectionModelImpl& model, const PairedItems& items,
                                const std::vector<ImageCaptionPair>& pairs) const {
    return FusedScores(model, items, pairs, instructions());
  }
};

TEST_P(FusedInteractionTest, AgreesWithTheModulesForEveryNorm) {
  for (const char* norm :
       {"clipped_l2norm", "l2norm", "clipped_l1norm", "l1norm", "clipped", "no_norm", "softmax"}) {
    SCOPED_TRACE(norm);
    ExpectAgreement(instructions(), direction(), {}, norm, /*train=*/false);
  }
}

TEST_P(FusedInteractionTest, AgreesWithTheModulesForOddShapes) {
  for (const Sizes& sizes :
       {Sizes{1, 3, 8, 1, 5, 3}, Sizes{19, 33, 70, 5, 31, 66}, Sizes{36, 24, 64, 4, 128, 32}}) {
    SCOPED_TRACE(sizes.embed_size);
    ExpectAgreement(instructions(), direction(), sizes, "clipped_l2norm", /*train=*/false);
  }
}

TEST_P(FusedInteractionTest, AgreesWithTheModulesAtFullSize) {
  ExpectAgreement(instructions(), direction(), kFull, "clipped_l2norm", /*train=*/true);
}

TEST_P(FusedInteractionTest, BatchNormalisationLearnsAsTheModulesDo) {
  ExpectAgreement(instructions(), direction(), {}, "clipped_l2norm", /*train=*/true);
}

TEST_P(FusedInteractionTest, ShutGatesHaveNoGradient) {
  const double shut =
      ExpectAgreement(instructions(), direction(), {}, "clipped_l2norm", /*train=*/true, ShutGates);
  EXPECT_GT(shut, 0.2);
}

TEST_P(FusedInteractionTest, WithAllGatesShutTheRectifiedIdentityAndTheInputsRemain) {
  const double shut =
      ExpectAgreement(instructions(), direction(), {}, "clipped_l2norm", /*train=*/true,
                      [](DirectionModelImpl& model) {
                        torch::NoGradGuard no_grad;
                        for (auto& parameter : model.named_parameters()) {
                          if (parameter.key().find("router.mlp.2.bias") != std::string::npos) {
                            parameter.value().fill_(-5);
                          }
                        }
                      });
  EXPECT_EQ(shut, 1);
}

TEST_P(FusedInteractionTest, SharpAttentionNeitherOverflowsNorVanishes) {
  for (const double lambda : {300.0, -300.0}) {
    SCOPED_TRACE(lambda);
    ExpectAgreement(
        instructions(), direction(), {}, "no_norm", /*train=*/false, [](DirectionModelImpl&) {},
        lambda);
  }
}

// A weight that is not a number must show in the loss, where the trainer stops.
TEST_P(FusedInteractionTest, NotANumberIsNotLost) {
  const PairedItems items = MakeItems({});
  int checked = 0;
  const DirectionModel names = MakeModel(direction(), {}, "clipped_l2norm");
  for (const auto& parameter : names->interaction->named_parameters()) {
    const std::string& name = parameter.key();
    if (name.find("glgc.fc_2") != std::string::npos || name.find("path_mapping") == 0) continue;
    DirectionModel model = MakeModel(direction(), {}, "clipped_l2norm");
    model->eval();
    torch::NoGradGuard no_grad;
    model->interaction->named_parameters()[name].fill_(std::numeric_limits<float>::quiet_NaN());
    EXPECT_TRUE(AllFused(instructions(), *model, items).scores.isnan().all().item<bool>()) << name;
    ++checked;
  }
  EXPECT_GT(checked, 80);
}

// More pairs than go together in either pass, all on one thread.
TEST_P(FusedInteractionTest, ManyPairsOnOneThread) {
  const int before = torch::get_num_threads();
  torch::set_num_threads(1);
  constexpr int kTimes = 4;
  ExpectAgreement(
      instructions(), direction(), {}, "clipped_l2norm", /*train=*/false,
      [](DirectionModelImpl&) {}, /*lambda=*/0, kTimes);
  torch::set_num_threads(before);
}

TEST_P(FusedInteractionTest, AnyNumberOfThreadsGivesTheSame) {
  const int before = torch::get_num_threads();
  for (const int threads : {2, 3, 50}) {
    SCOPED_TRACE(threads);
    torch::set_num_threads(threads);
    ExpectAgreement(instructions(), direction(), {}, "clipped_l2norm", /*train=*/true);
  }
  torch::set_num_threads(before);
}

TEST_P(FusedInteractionTest, WhatIsNotThereIsRefused) {
  DirectionModel model = MakeModel(direction(), {}, "clipped_l2norm");
  PairedItems items = MakeItems({});
  EXPECT_THROW(Fused(*model, items, {}), c10::Error);
  EXPECT_THROW(Fused(*model, items, {{kImages, 0}}), c10::Error);
  EXPECT_THROW(Fused(*model, items, {{0, -1}}), c10::Error);
  items.word_lengths[2] = 0;
  EXPECT_THROW(Fused(*model, items, {{0, 0}}), c10::Error);
  items.word_lengths[2] = items.words.size(1) + 1;
  EXPECT_THROW(Fused(*model, items, {{0, 0}}), c10::Error);
}

TEST_P(FusedInteractionTest, SelectedPairsScoreAsAmongAll) {
  DirectionModel model = MakeModel(direction(), {}, "clipped_l2norm");
  model->eval();
  const PairedItems items = MakeItems({});
  torch::NoGradGuard no_grad;
  const torch::Tensor all =
      AllFused(instructions(), *model, items).scores.view({kImages, kCaptions});
  const torch::Tensor some = Fused(*model, items, {{3, 1}, {0, 2}, {3, 3}}).scores;
  EXPECT_TRUE(torch::equal(some, torch::stack({all[3][1], all[0][2], all[3][3]})));
}

TEST_P(FusedInteractionTest, TheSameTwiceIsTheSameBits) {
  DirectionModel model = MakeModel(direction(), {}, "clipped_l2norm");
  model->eval();
  const PairedItems items = MakeItems({});
  const auto run = [&] {
    return RunScorer(*model, items, torch::kFloat32,
                     [&](DirectionModelImpl& model, const PairedItems& items) {
                       return AllFused(instructions(), model, items);
                     });
  };
  const Outcome once = run(), twice = run();
  for (const auto& [name, gradient] : once.gradients) {
    EXPECT_TRUE(torch::equal(gradient, twice.gradients.at(name))) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Instructions, FusedInteractionTest,
                         testing::Combine(testing::ValuesIn(TrainingInstructions()),
                                          testing::ValuesIn(kDirections)),
                         NameOf);
// Where the processor has none, there is nothing to hold against the modules.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(FusedInteractionTest);

TEST(CanFuseScoresTest, Float32AndInMixedPrecisionBfloat16) {
  PairedItems items = MakeItems({});
  EXPECT_EQ(CanFuseScores(items), kernels::SupportedFloat32().has_value());
  items.words = items.words.to(torch::kBFloat16);
  EXPECT_FALSE(CanFuseScores(items));
  {
    const MixedPrecision mixed(torch::kCPU);
    EXPECT_EQ(CanFuseScores(items), kernels::SupportedBf16().has_value());
  }
  items.words = items.words.to(torch::kFloat64);
  EXPECT_FALSE(CanFuseScores(items));
}

// All of an item's pairs take what it computes.
TEST(FusedScoresTest, InMixedPrecisionLayer0sOwnPartIsFloat32) {
  if (!kernels::SupportedBf16().has_value()) GTEST_SKIP() << "no instructions for bfloat16";
  for (const Direction direction : kDirections) {
    DirectionModel model = MakeModel(direction, {}, "clipped_l2norm");
    model->eval();
    const PairedItems items = MakeItems({});
    const auto layer0 = [](const InteractionImpl::Output& output) {
      return output.path_weights.narrow(-1, 0, 16);
    };
    const torch::Tensor exact = layer0(ModulesScores(*model, items, 1));
    const MixedPrecision mixed(torch::kCPU);
    EXPECT_LE((layer0(AllFused(std::nullopt, *model, items)) - exact).abs().max().item<double>(),
              1e-5);
    EXPECT_TRUE(MixedPrecision::IsOn(torch::kCPU));
  }
}

TEST(FusedScoresTest, InMixedPrecisionTakeItemsOfEitherTypeAndGiveFloat32) {
  if (!kernels::SupportedBf16().has_value()) GTEST_SKIP() << "no instructions for bfloat16";
  for (const Direction direction : kDirections) {
    DirectionModel model = MakeModel(direction, {}, "clipped_l2norm");
    model->eval();
    PairedItems items = MakeItems({});
    const torch::Tensor exact = ModulesScores(*model, items, 1).scores;
    for (torch::Tensor* x : {&items.regions, &items.image, &items.words, &items.sentence}) {
      *x = x->to(torch::kBFloat16).requires_grad_();
    }
    const MixedPrecision mixed(torch::kCPU);
    const InteractionImpl::Output output = AllFused(std::nullopt, *model, items);
    EXPECT_EQ(output.scores.scalar_type(), torch::kFloat32);
    EXPECT_LT((output.scores - exact).abs().max().item<double>(), 0.02);
    output.scores.sum().backward();
    EXPECT_GT(items.words.grad().abs().max().item<double>(), 0);
  }
}

}  // namespace
}  // namespace dime
