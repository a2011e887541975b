// The kernels against the modules: the same scores and path weights up to the rounding of what they
// multiply, for every norm and for odd shapes, and the same bits whatever else is in a call.
#include "model/kernel_scorer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/dime_model.h"
#include "tests/model/dime/golden_tiny.h"
#include "tests/model/dime/scorer_subject.h"

namespace dime {
namespace {

using kernels::Instructions;

std::unique_ptr<KernelScorer> MakeScorer(const Subject& subject, Instructions instructions,
                                         const KernelScorer::Options& options = {}) {
  const InteractionWeightsReader read = subject.ReadWeights();
  KernelScorer::Kernels kernels;
  kernels[static_cast<size_t>(subject.d())] =
      kernels::InteractionKernel::Create(read.shape, read.weights, instructions);
  return std::make_unique<KernelScorer>(std::move(kernels), subject.info(), options);
}

class KernelScorerTest : public testing::TestWithParam<InstructionsAndDirection> {
 protected:
  Instructions instructions() const { return std::get<0>(GetParam()); }
  Direction direction() const { return std::get<1>(GetParam()); }
  // Of those that multiply bfloat16 or bytes, `rounding`.
  float Tolerance(float rounding) const {
    return kernels::OperandsOf(instructions()) == kernels::Operands::kFloat32 ? 2e-5f : rounding;
  }
};

TEST_P(KernelScorerTest, AgreesWithTheModulesForEveryNorm) {
  for (const char* norm : kNorms) {
    SCOPED_TRACE(norm);
    Subject subject(direction(), Sizes(), norm);
    ExpectAgreement(subject, *MakeScorer(subject, instructions()), Tolerance(0.01f));
  }
}

TEST_P(KernelScorerTest, AgreesWithTheModulesForOddShapes) {
  for (const Sizes& sizes : kOddShapes) {
    SCOPED_TRACE(sizes.embed_size);
    Subject subject(direction(), sizes);
    // Of one position the guidance cell keeps the sign alone, which rounding to bytes may turn.
    const bool turns =
        sizes.regions == 1 && kernels::OperandsOf(instructions()) == kernels::Operands::kInt8;
    ExpectAgreement(subject, *MakeScorer(subject, instructions()),
                    (turns ? 8 : 1) * Tolerance(0.015f));
  }
}

TEST_P(KernelScorerTest, AgreesWithTheModulesAtFullSize) {
  Subject subject(direction(), kFull);
  ExpectAgreement(subject, *MakeScorer(subject, instructions()), Tolerance(0.005f));
}

TEST_P(KernelScorerTest, ShutGatesSkipTheirCellsAndChangeNothing) {
  Subject subject(direction(), Sizes());
  subject.ShutGates();
  ExpectShutGatesAreSkipped(subject, *MakeScorer(subject, instructions()), Tolerance(0.03f));
}

TEST_P(KernelScorerTest, SoTheyDoAtFullSize) {
  Subject subject(direction(), kFull);
  subject.ShutGates();
  ExpectShutGatesAreSkipped(subject, *MakeScorer(subject, instructions()), Tolerance(0.03f));
}

TEST_P(KernelScorerTest, AScoreIsTheSameBitsWhateverElseIsInTheCall) {
  Subject subject(direction(), Sizes());
  subject.ShutGates();
  ExpectSameBitsAloneAndTogether(
      subject, *MakeScorer(subject, instructions(), {.team = std::make_shared<ThreadTeam>(2)}));
}

// Bytes before a page that nobody may touch.
class GuardedBytes {
 public:
  explicit GuardedBytes(size_t size) : mapped_((size / kPage + 2) * kPage) {
    memory_ = static_cast<unsigned char*>(
        mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(memory_ + mapped_ - kPage, kPage, PROT_NONE);
    bytes_ = memory_ + mapped_ - kPage - size;
  }
  ~GuardedBytes() { munmap(memory_, mapped_); }
  unsigned char* get() const { return bytes_; }

 private:
  static constexpr size_t kPage = 4096;
  const size_t mapped_;
  unsigned char* memory_;
  unsigned char* bytes_;
};

TEST_P(KernelScorerTest, PreparedItemsAreNotReadBeyondTheirEnd) {
  for (const auto& [regions, words] : {std::pair{1, 2}, {2, 1}, {5, 3}, {17, 16}, {36, 32}}) {
    SCOPED_TRACE(regions);
    Subject subject(direction(), {.regions = regions, .words = words, .embed_size = 8});
    const InteractionWeightsReader read = subject.ReadWeights();
    const auto kernel =
        kernels::InteractionKernel::Create(read.shape, read.weights, instructions());
    const auto workspace = kernel->MakeWorkspace();
    const bool i2t = direction() == Direction::kI2t;
    const EncodedItems& locals = i2t ? subject.images() : subject.captions();
    const EncodedItems& contexts = i2t ? subject.captions() : subject.images();
    const int rows = contexts.lengths[1];
    const GuardedBytes local(kernel->local_bytes()), context(kernel->context_bytes(rows));
    kernel->PrepareLocal(locals.view().of(direction()).local.data(), local.get(), *workspace);
    const EncodedItemsView other = contexts.view().Slice(1, 1);
    kernel->PrepareContext(other.of(direction()).local.data(), rows,
                           other.of(direction()).global.data(), context.get(), *workspace);
    const kernels::PreparedPair pair = {local.get(), context.get()};
    float score = 2;
    kernel->Score(&pair, 1, &score, nullptr, *workspace);
    EXPECT_LE(std::abs(score), 1.01f);
  }
}

TEST_P(KernelScorerTest, WithoutRoomForPreparedItemsTheScoresAreTheSame) {
  Subject subject(direction(), Sizes());
  const auto roomy = MakeScorer(subject, instructions());
  const auto bare = MakeScorer(subject, instructions(), {.prepared_bytes = 0});
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
  const auto scorer = MakeScorer(subject, instructions());
  const auto other = MakeScorer(subject, instructions());
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
                         NameOf);
// Where the processor has none, there is nothing to hold against the modules.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(KernelScorerTest);

TEST(ScorerChoiceTest, AModelSaysWhatScores) {
  const auto modules = DimeModel::Load(kTinyModel, {.device = "cpu", .scorer = "modules"});
  ASSERT_TRUE(modules.ok()) << modules.status();
  EXPECT_EQ((*modules)->info().scorer, "modules");
  const auto chosen = DimeModel::Load(kTinyModel, {.device = "cpu", .scorer = "auto"});
  ASSERT_TRUE(chosen.ok()) << chosen.status();
  const auto preferred = kernels::PreferredInstructions();
  const auto first = std::find_if(preferred.begin(), preferred.end(), kernels::IsSupported);
  EXPECT_EQ((*chosen)->info().scorer,
            first == preferred.end() ? "modules" : kernels::InstructionsName(*first));
}

TEST(ScorerChoiceTest, AnUnknownScorerIsRefusedByName) {
  const auto model = DimeModel::Load(kTinyModel, {.device = "cpu", .scorer = "abacus"});
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(model.status().message()), testing::HasSubstr("\"abacus\""));
}

}  // namespace
}  // namespace dime
