#include "model/idle_pool.h"

#include <memory>

#include "gtest/gtest.h"

namespace dime {
namespace {

TEST(IdlePoolTest, MakesAsManyAsAreInUseAtOnceAndNoMore) {
  int made = 0;
  IdlePool<int> pool;
  const auto take = [&] { return pool.Take([&] { return std::make_unique<int>(++made); }); };
  {
    const auto first = take();
    const auto second = take();
    EXPECT_NE(*first, *second);
    EXPECT_EQ(made, 2);
  }
  for (int i = 0; i < 3; ++i) {
    const auto first = take();
    const auto second = take();
    EXPECT_NE(*first, *second);
  }
  EXPECT_EQ(made, 2);
  const auto first = take();
  const auto second = take();
  const auto third = take();
  EXPECT_EQ(*third, 3);
}

}  // namespace
}  // namespace dime
