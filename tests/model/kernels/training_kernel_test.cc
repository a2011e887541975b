#include "model/kernels/training_kernel.h"

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "model/kernels/instructions.h"
#include "tests/model/dime/scorer_subject.h"

// What FusedScores() does not come to: calls one after the other in the same memory. Scores and
// gradients are held against the modules in fused_interaction_test.cc.
namespace dime::kernels {
namespace {

constexpr InteractionShape kShape = {.positions = 5,
                                     .max_context = 4,
                                     .embed_size = 12,
                                     .num_heads = 3,
                                     .feed_forward_size = 20,
                                     .router_size = 7};
constexpr int kItems = 3, kPairs = 45;

class TrainingKernelTest : public testing::TestWithParam<Instructions> {
 protected:
  TrainingKernelTest() : random_(3) {
    const int e = kShape.embed_size, m = kShape.positions, c = kShape.max_context;
    for (const int64_t size :
         {TrainingLayout(kShape).size, int64_t{kItems} * m * e, int64_t{kItems} * 4 * m * e,
          int64_t{kItems} * m * e, int64_t{kItems} * 4, int64_t{kItems} * 4,
          int64_t{kItems} * c * e, int64_t{kItems} * c * 6 * e}) {
      arrays_.push_back(Random(size));
    }
    // Open gates, whose sum divides.
    for (const int share : {4, 5}) {
      for (float& x : arrays_[share]) x = 0.25f;
    }
    rows_ = {1, 3, 4};
    sign_.assign(kItems * e, 1);
    sign_[2] = -1;
    for (int p = 0; p < kPairs; ++p) pairs_.push_back({p % kItems, p / kItems % kItems});
    for (const int64_t size : SummarySizes()) given_.push_back(Random(size));
    kernel_ = TrainingKernel::Create(kShape, GetParam());
    TrainingInputs inputs{ToArrays<const float>(arrays_)};
    inputs.num_contexts = kItems;
    inputs.context_rows = rows_.data();
    inputs.guide_sign = sign_.data();
    step_ = kernel_->MakeStep(inputs);
  }

  using Values = std::vector<std::vector<float>>;

  Values Forward(int first, int count, TrainingKernel::Workspace& workspace) const {
    Values out;
    for (const int64_t size : SummarySizes()) out.emplace_back(size);
    kernel_->Forward(*step_, pairs_.data() + first, count, ToSummaries<float>(out, first),
                     workspace);
    return out;
  }
  // The gradients of some pairs.
  Values Backward(int first, int count, TrainingKernel::Workspace& workspace) const {
    Values gradients;
    for (const std::vector<float>& array : arrays_) gradients.emplace_back(array.size());
    kernel_->Backward(*step_, pairs_.data() + first, count, ToSummaries<const float>(given_, first),
                      ToArrays<float>(gradients), workspace);
    return gradients;
  }

  std::unique_ptr<TrainingKernel> kernel_;

 private:
  static std::vector<int64_t> SummarySizes() {
    const int64_t size = int64_t{kPairs} * kShape.embed_size;
    return {size, size, size, size, int64_t{kPairs} * 20};
  }
  std::vector<float> Random(int64_t size) {
    std::uniform_real_distribution<float> uniform(-0.5f, 0.5f);
    std::vector<float> values(size);
    for (float& x : values) x = uniform(random_);
    return values;
  }
  template <class Value, class Arrays>
  static TrainingArrays<Value> ToArrays(Arrays& a) {
    return {a[0].data(), a[1].data(), a[2].data(), a[3].data(),
            a[4].data(), a[5].data(), a[6].data(), a[7].data()};
  }
  template <class Value, class Summaries>
  static PairSummaries<Value> ToSummaries(Summaries& s, int first) {
    const int64_t row = int64_t{first} * kShape.embed_size;
    return {s[0].data() + row, s[1].data() + row, s[2].data() + row, s[3].data() + row,
            s[4].data() + int64_t{first} * 20};
  }

  std::mt19937 random_;
  Values arrays_, given_;
  std::vector<int64_t> rows_;
  std::vector<float> sign_;
  std::vector<TrainingPair> pairs_;
  std::unique_ptr<TrainingKernel::Step> step_;
};

TEST_P(TrainingKernelTest, MemoryThatWasUsedBeforeChangesNothing) {
  const auto used = kernel_->MakeWorkspace();
  for (const int count : {kPairs, 7, 32, 1}) {
    const auto fresh = kernel_->MakeWorkspace();
    EXPECT_EQ(Forward(0, count, *used), Forward(0, count, *fresh));
    EXPECT_EQ(Backward(0, count, *used), Backward(0, count, *fresh));
  }
}

TEST_P(TrainingKernelTest, GradientsOfPartsAddUp) {
  const auto workspace = kernel_->MakeWorkspace();
  const Values all = Backward(0, kPairs, *workspace);
  const Values first = Backward(0, 33, *workspace), rest = Backward(33, kPairs - 33, *workspace);
  for (size_t a = 0; a < all.size(); ++a) {
    for (size_t i = 0; i < all[a].size(); ++i) {
      ASSERT_NEAR(all[a][i], first[a][i] + rest[a][i], 1e-4) << "array " << a << ", " << i;
    }
  }
}

TEST_P(TrainingKernelTest, APairIsTheSameBitsWhateverElseIsInTheCall) {
  const auto workspace = kernel_->MakeWorkspace();
  const Values all = Forward(0, kPairs, *workspace);
  for (const int p : {0, 17, kPairs - 1}) {
    const Values alone = Forward(p, 1, *workspace);
    for (int e = 0; e < kShape.embed_size; ++e) {
      const int at = p * kShape.embed_size + e;
      for (int s = 0; s < 4; ++s) EXPECT_EQ(alone[s][at], all[s][at]);
    }
    for (int w = p * 20; w < (p + 1) * 20; ++w) EXPECT_EQ(alone[4][w], all[4][w]);
  }
}

INSTANTIATE_TEST_SUITE_P(Instructions, TrainingKernelTest,
                         testing::ValuesIn(TrainingInstructions()),
                         [](const testing::TestParamInfo<Instructions>& info) {
                           return std::string(InstructionsName(info.param));
                         });
// Where the processor has none, there is no kernel.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TrainingKernelTest);

}  // namespace
}  // namespace dime::kernels
