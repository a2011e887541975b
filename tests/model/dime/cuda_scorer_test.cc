// The device's kernels against the modules, on the emulator: the same scores and path weights up to
// bfloat16's rounding, for every norm and for odd shapes, and the same bits whatever else is in a
// call. That a device computes what the emulator does is gpu_check's to tell.
#include "model/cuda/cuda_scorer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/model/dime/scorer_subject.h"

namespace dime {
namespace {

using ::testing::HasSubstr;

using cuda::TileProducts;

absl::StatusOr<std::unique_ptr<CudaScorer>> MakeEmulatedScorer(
    const Subject& subject, const cuda::EmulatorOptions& options) {
  const InteractionWeightsReader read = subject.ReadWeights();
  auto kernel = cuda::MakeEmulatedKernel(read.shape, read.weights, options);
  if (!kernel.ok()) return kernel.status();
  CudaScorer::Kernels kernels;
  kernels[static_cast<size_t>(subject.d())] = *std::move(kernel);
  return std::make_unique<CudaScorer>(std::move(kernels), subject.info());
}

// A call of one pair goes by small tiles, of several by large ones.
class CudaScorerTest : public testing::TestWithParam<std::tuple<Direction, TileProducts>> {
 protected:
  static Direction direction() { return std::get<0>(GetParam()); }
  static std::unique_ptr<CudaScorer> MakeScorer(const Subject& subject, bool descending = false) {
    auto scorer = MakeEmulatedScorer(
        subject, {.descending = descending, .max_items = 40, .products = std::get<1>(GetParam())});
    EXPECT_TRUE(scorer.ok()) << scorer.status();
    return *std::move(scorer);
  }
};

TEST_P(CudaScorerTest, AgreesWithTheModulesForEveryNorm) {
  for (const char* norm : kNorms) {
    SCOPED_TRACE(norm);
    Subject subject(direction(), Sizes(), norm);
    ExpectAgreement(subject, *MakeScorer(subject), 0.01f, /*every=*/3);
  }
}

TEST_P(CudaScorerTest, AgreesWithTheModulesForOddShapes) {
  for (const Sizes& sizes : kOddShapes) {
    SCOPED_TRACE(sizes.embed_size);
    Subject subject(direction(), sizes);
    ExpectAgreement(subject, *MakeScorer(subject), 0.015f, /*every=*/5);
  }
}

TEST_P(CudaScorerTest, TheOrderOfThreadsDoesNotMatter) {
  Subject subject(direction(), Sizes());
  subject.ShutGates();
  const std::vector<int64_t> rows = AllRows(Subject::kImages);
  std::vector<PairScores> results;
  for (const bool descending : {false, true}) {
    const auto scorer = MakeScorer(subject, descending);
    const auto bank = scorer->MakeBank(subject.images().view());
    ASSERT_TRUE(bank.ok()) << bank.status();
    const ScoringRequest request = subject.Request(bank->get(), 1, rows, /*want_paths=*/true);
    results.push_back((*scorer->Score({&request, 1}))[0]);
  }
  EXPECT_EQ(results[0].scores, results[1].scores);
  EXPECT_EQ(results[0].paths, results[1].paths);
}

TEST_P(CudaScorerTest, ShutGatesSkipTheirCellsAndChangeNothing) {
  Subject subject(direction(), Sizes());
  subject.ShutGates();
  ExpectShutGatesAreSkipped(subject, *MakeScorer(subject));
}

TEST_P(CudaScorerTest, AScoreIsTheSameBitsWhateverElseIsInTheCall) {
  Subject subject(direction(), Sizes());
  subject.ShutGates();
  ExpectSameBitsAloneAndTogether(subject, *MakeScorer(subject), /*every=*/4);
}

TEST_P(CudaScorerTest, ASlabHoldsWhatWasWrittenLast) {
  Subject subject(direction(), Sizes());
  const auto scorer = MakeScorer(subject);
  const auto whole = scorer->MakeBank(subject.images().view());
  const auto slab = scorer->MakeSlabBank(subject.images().view().Slice(0, 0), 3);
  ASSERT_TRUE(slab.ok()) << slab.status();
  const auto write = [&](std::vector<int64_t> slots, int64_t first, int64_t count) {
    return (*slab)->Write(slots, subject.images().view().Slice(first, count));
  };
  ASSERT_TRUE(write({2, 0, 1}, 0, 3).ok());
  ASSERT_TRUE(write({0}, 7, 1).ok());
  EXPECT_EQ(write({3}, 0, 1).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(write({1}, 0, 2).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ((*whole)->Write({}, subject.images().view().Slice(0, 0)).code(),
            absl::StatusCode::kFailedPrecondition);
  const std::vector<int64_t> slots = {0, 1, 2}, rows = {7, 2, 0};
  const ScoringRequest in_slab = subject.Request(slab->get(), 1, slots);
  const ScoringRequest in_whole = subject.Request(whole->get(), 1, rows);
  EXPECT_EQ((*scorer->Score({&in_slab, 1}))[0].scores, (*scorer->Score({&in_whole, 1}))[0].scores);
}

TEST_P(CudaScorerTest, WhatDoesNotFitIsRefused) {
  Subject subject(direction(), Sizes());
  const auto scorer = MakeScorer(subject), other = MakeScorer(subject);
  const auto bank = scorer->MakeBank(subject.images().view());
  const std::vector<int64_t> beyond = {Subject::kImages};
  const ScoringRequest request = subject.Request(bank->get(), 0, beyond);
  EXPECT_EQ(scorer->Score({&request, 1}).status().code(), absl::StatusCode::kInvalidArgument);
  EncodedItems wide = subject.images();
  wide.directions[subject.d()].embed_size += 1;
  EXPECT_EQ(scorer->MakeBank(wide.view()).status().code(), absl::StatusCode::kInvalidArgument);

  Subject large(direction(), {.regions = 130, .words = 130});
  const absl::Status status = MakeEmulatedScorer(large, {.max_items = 1}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(status.message(), HasSubstr("up to 128 positions"));
}

INSTANTIATE_TEST_SUITE_P(
    Directions, CudaScorerTest,
    testing::Combine(testing::ValuesIn(kDirections),
                     testing::Values(TileProducts::kWarps, TileProducts::kWarpgroups)),
    [](const auto& info) {
      return std::string(DirectionName(std::get<0>(info.param))) +
             (std::get<1>(info.param) == TileProducts::kWarps ? "ByWarps" : "ByWarpgroups");
    });

// At the sizes of the published model, few pairs: the emulator is slow.
TEST(CudaScorerAtFullSizeTest, AgreesWithTheModules) {
  Subject subject(Direction::kI2t, kFull);
  const torch::Tensor expected = subject.Expected().scores;
  const std::vector<int64_t> rows = AllRows(3);
  for (const TileProducts products : {TileProducts::kWarps, TileProducts::kWarpgroups}) {
    const auto scorer = MakeEmulatedScorer(subject, {.max_items = 40, .products = products});
    ASSERT_TRUE(scorer.ok()) << scorer.status();
    const auto bank = (*scorer)->MakeBank(subject.images().view().Slice(0, 3));
    ASSERT_TRUE(bank.ok()) << bank.status();
    const ScoringRequest request = subject.Request(bank->get(), 4, rows);
    const auto results = (*scorer)->Score({&request, 1});
    ASSERT_TRUE(results.ok()) << results.status();
    for (const int64_t row : rows) {
      EXPECT_NEAR((*results)[0].scores[subject.d()][row], expected[row][4].item<float>(), 0.005f);
    }
  }
}

TEST(CudaKernelTest, SaysWhyThereIsNone) {
  Subject subject(Direction::kI2t, Sizes());
  const InteractionWeightsReader read = subject.ReadWeights();
  const absl::Status status = cuda::MakeCudaKernel(read.shape, read.weights, 999).status();
  EXPECT_TRUE(status.code() == absl::StatusCode::kUnimplemented ||
              status.code() == absl::StatusCode::kFailedPrecondition)
      << status;
  EXPECT_THAT(status.message(), testing::AnyOf(HasSubstr("no nvcc"), HasSubstr("device 999")));
}

}  // namespace
}  // namespace dime
