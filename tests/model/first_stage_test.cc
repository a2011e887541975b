#include "model/first_stage.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(DescribeFirstStageTest, TellsOfHeads) {
  EXPECT_THAT(DescribeFirstStage({.coarse_dim = 256, .coarse_heads = true}),
              AllOf(HasSubstr("coarse heads"), HasSubstr("256"), Not(HasSubstr("dime_train"))));
}

TEST(DescribeFirstStageTest, TellsWhatMakesHeads) {
  EXPECT_THAT(DescribeFirstStage({.coarse_dim = 128}),
              AllOf(HasSubstr("not trained for recall"), HasSubstr("dime_train_coarse")));
}

}  // namespace
}  // namespace dime
