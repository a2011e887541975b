// BERT's layers by the kernels against the modules. Run twice, as kernel_scorer_test.cc is.
#include "model/dime/fused_bert.h"

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "model/dime/bert.h"
#include "tests/model/dime/scorer_subject.h"

namespace dime {
namespace {

using kernels::Instructions;

BertConfig Config(int hidden, int heads, int intermediate, int layers) {
  BertConfig config;
  config.vocab_size = 50;
  config.hidden_size = hidden;
  config.num_layers = layers;
  config.num_heads = heads;
  config.intermediate_size = intermediate;
  config.max_positions = 40;
  config.type_vocab_size = 2;
  return config;
}

// Random weights, always the same ones; norms and biases too are others than they begin with.
Bert MakeBert(const BertConfig& config) {
  torch::manual_seed(3);
  torch::NoGradGuard no_grad;
  Bert bert(config);
  for (auto& parameter : bert->named_parameters()) {
    torch::Tensor& value = parameter.value();
    value.copy_(value.dim() == 1 ? torch::randn_like(value) * 0.3 : torch::randn_like(value) * 0.1);
    if (parameter.key().find("LayerNorm.weight") != std::string::npos) value.add_(1);
    value.set_requires_grad(false);
  }
  bert->eval();
  return bert;
}

class FusedBertTest : public testing::TestWithParam<Instructions> {
 protected:
  // The same weights, by the modules and by the kernels on some threads.
  struct Pair {
    Bert modules{nullptr}, fused{nullptr};
    Pair(const BertConfig& config, Instructions instructions, int threads)
        : modules(MakeBert(config)), fused(MakeBert(config)) {
      fused->UseKernels(instructions, std::make_shared<ThreadTeam>(threads));
    }
  };
  // Of states about 1 in size.
  static double Tolerance() {
    return kernels::OperandsOf(GetParam()) == kernels::Operands::kFloat32 ? 5e-5 : 0.02;
  }
};

torch::Tensor Ids(int64_t captions, int64_t length) {
  torch::manual_seed(captions * 100 + length);
  return torch::randint(50, {captions, length}, torch::kLong);
}
torch::Tensor Lengths(int64_t captions, int64_t length) {
  torch::Tensor lengths = torch::arange(captions) * 5 % length + 1;
  return lengths;
}

TEST_P(FusedBertTest, AgreesWithTheModulesHoweverCaptionsAreShared) {
  torch::NoGradGuard no_grad;
  for (const BertConfig& config :
       {Config(24, 3, 40, 3), Config(33, 11, 7, 2), Config(64, 4, 200, 2)}) {
    for (const int threads : {1, 2, 5}) {
      const Pair bert(config, GetParam(), threads);
      for (const auto& [captions, length] :
           {std::pair<int64_t, int64_t>{0, 5}, {1, 1}, {1, 24}, {3, 17}, {2, 40}, {21, 9}}) {
        SCOPED_TRACE(testing::Message() << config.hidden_size << ", " << threads << " threads, "
                                        << captions << " captions of " << length);
        const torch::Tensor ids = Ids(captions, length), lengths = Lengths(captions, length);
        const torch::Tensor expected = Bert(bert.modules)->forward(ids, lengths);
        const torch::Tensor actual = Bert(bert.fused)->forward(ids, lengths);
        ASSERT_EQ(actual.sizes(), expected.sizes());
        if (captions == 0) continue;
        EXPECT_LT((actual - expected).abs().max().item<double>(), Tolerance());
      }
    }
  }
}

TEST_P(FusedBertTest, ACaptionIsTheSameBitsWhateverElseIsInTheCall) {
  torch::NoGradGuard no_grad;
  const Pair alone(Config(64, 4, 200, 2), GetParam(), 1),
      shared(Config(64, 4, 200, 2), GetParam(), 3);
  const torch::Tensor ids = Ids(11, 24), lengths = Lengths(11, 24);
  const torch::Tensor all = Bert(alone.fused)->forward(ids, lengths);
  EXPECT_TRUE(torch::equal(Bert(shared.fused)->forward(ids, lengths), all));
  for (const int64_t c : {0, 4, 10}) {
    for (const Pair* by : {&alone, &shared}) {
      const torch::Tensor one =
          Bert(by->fused)->forward(ids.narrow(0, c, 1), lengths.narrow(0, c, 1));
      EXPECT_TRUE(torch::equal(one[0], all[c])) << c;
    }
  }
}

// Far states and an infinity: GELU and softmax at the ends of what floats hold.
TEST_P(FusedBertTest, LargeStatesStayWhatTheModulesMakeOfThem) {
  torch::NoGradGuard no_grad;
  const BertConfig config = Config(24, 3, 40, 2);
  Bert modules = MakeBert(config), fused = MakeBert(config);
  for (Bert* bert : {&modules, &fused}) {
    for (auto& parameter : (*bert)->named_parameters()) {
      if (parameter.key().find("intermediate") != std::string::npos) parameter.value().mul_(300);
      if (parameter.key().find("query") != std::string::npos) parameter.value().mul_(1000);
    }
  }
  fused->UseKernels(GetParam(), std::make_shared<ThreadTeam>(1));
  const torch::Tensor ids = Ids(4, 12), lengths = Lengths(4, 12);
  const torch::Tensor expected = modules->forward(ids, lengths);
  const torch::Tensor actual = fused->forward(ids, lengths);
  EXPECT_TRUE(torch::isfinite(actual).all().item<bool>());
  if (kernels::OperandsOf(GetParam()) == kernels::Operands::kFloat32) {
    EXPECT_LT((actual - expected).abs().max().item<double>(), 0.02);
  }
}

TEST_P(FusedBertTest, NotANumberStaysInItsCaption) {
  torch::NoGradGuard no_grad;
  Bert bert = MakeBert(Config(24, 3, 40, 2));
  bert->UseKernels(GetParam(), std::make_shared<ThreadTeam>(2));
  torch::Tensor ids = Ids(3, 12) % 49;
  for (auto& parameter : bert->named_parameters()) {
    if (parameter.key() == "embeddings.word_embeddings.weight") {
      parameter.value()[49].fill_(std::numeric_limits<float>::quiet_NaN());
    }
  }
  ids[1][0] = 49;
  const torch::Tensor states = bert->forward(ids, torch::full({3}, 12, torch::kLong));
  EXPECT_TRUE(torch::isfinite(states[0]).all().item<bool>());
  EXPECT_TRUE(torch::isnan(states[1]).all().item<bool>());
  EXPECT_TRUE(torch::isfinite(states[2]).all().item<bool>());
}

TEST_P(FusedBertTest, LengthsOutOfRangeAreRefused) {
  torch::NoGradGuard no_grad;
  Bert bert = MakeBert(Config(24, 3, 40, 1));
  bert->UseKernels(GetParam(), std::make_shared<ThreadTeam>(1));
  for (const int64_t length : {0, 13, -1}) {
    EXPECT_THROW(bert->forward(Ids(2, 12), torch::tensor({int64_t{3}, length})), c10::Error);
  }
}

INSTANTIATE_TEST_SUITE_P(Instructions, FusedBertTest, testing::ValuesIn(SupportedInstructions()),
                         [](const testing::TestParamInfo<Instructions>& info) {
                           return std::string(kernels::InstructionsName(info.param));
                         });

}  // namespace
}  // namespace dime
