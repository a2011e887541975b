#include "index/shape.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using testing::HasSubstr;

TEST(ShapeTest, MultipliesExtents) {
  EXPECT_EQ(*ShapeProduct({2, 3, 4}, 4), 96);
  EXPECT_EQ(*ShapeProduct({}), 1);
  EXPECT_EQ(*ShapeProduct({3, 0, 5}), 0);
  EXPECT_EQ(ShapeString({5, 36, 2048}), "(5, 36, 2048)");
}

TEST(ShapeTest, RefusesOverflowAlsoBesideAZero) {
  constexpr int64_t kBig = int64_t{1} << 32;
  EXPECT_THAT(ShapeProduct({kBig, kBig}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("too large")));
  EXPECT_THAT(ShapeProduct({0, kBig, kBig}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("too large")));
  EXPECT_THAT(ShapeProduct({kBig, int64_t{1} << 29}, 4),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("too large")));
  EXPECT_THAT(ShapeProduct({3, -1}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("negative")));
}

}  // namespace
}  // namespace dime
