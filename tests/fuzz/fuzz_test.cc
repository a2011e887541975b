// Every target, briefly: its seeds, and a fixed number of mutations of them.
#include <set>

#include "gtest/gtest.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/mutator.h"

namespace dime {
namespace {

constexpr int kMutations = 4000;

class FuzzTest : public ::testing::TestWithParam<FuzzTarget> {};

// A fault ends the process; the sanitizers' builds see more of them.
TEST_P(FuzzTest, StandsSeedsAndTheirMutations) {
  const FuzzTarget& target = GetParam();
  for (const std::string& seed : target.seeds) target.run(seed);
  Mutator mutator(target.seeds, 20210712);
  std::set<std::string> made;
  for (int n = 0; n < kMutations; ++n) {
    const std::string bytes = mutator.Next();
    target.run(bytes);
    made.insert(bytes);
  }
  EXPECT_GT(made.size(), kMutations / 2) << "mutations differ";
}

INSTANTIATE_TEST_SUITE_P(All, FuzzTest, ::testing::ValuesIn(AllFuzzTargets()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace dime
