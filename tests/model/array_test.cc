#include "model/kernels/array.h"

#include <cstdint>
#include <cstring>

#include "gtest/gtest.h"

namespace dime::kernels {
namespace {

bool IsOnACacheLine(const void* at) { return reinterpret_cast<uintptr_t>(at) % 64 == 0; }

TEST(SlabTest, GivesZeroedMemoryOnCacheLinesThatNothingElseHas) {
  Slab slab;
  Array<char> first, second;
  first.Resize(65, slab);
  second.Resize(3, slab);
  EXPECT_TRUE(IsOnACacheLine(first.get()));
  EXPECT_TRUE(IsOnACacheLine(second.get()));
  std::memset(first.get(), 1, 65);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(second.get()[i], 0);
  std::memset(second.get(), 2, 3);
  for (int i = 0; i < 65; ++i) EXPECT_EQ(first.get()[i], 1);
}

TEST(SlabTest, TakesMoreThanAHugePageAtOnceAndWhatNoLongerFits) {
  Slab slab;
  Array<float> arrays[4];
  for (int i = 0; i < 4; ++i) {
    const int64_t count = i == 1 ? 2'000'000 : 400'000;  // 8 MB, and 1.6
    arrays[i].Resize(count, slab);
    for (int64_t n = 0; n < count; ++n) {
      ASSERT_EQ(arrays[i].get()[n], 0);
      arrays[i].get()[n] = static_cast<float>(i);
    }
  }
  for (int i = 0; i < 4; ++i) EXPECT_EQ(arrays[i].get()[399'999], i);
}

TEST(ArrayTest, IsItsOwnAgainAfterASlabs) {
  Slab slab;
  Array<int> array;
  array.Resize(10, slab);
  int* const taken = array.get();
  taken[0] = 7;
  array.Resize(20);
  EXPECT_NE(array.get(), taken);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(array.get()[i], 0);
  array.Resize(5, slab);  // frees its own
  EXPECT_EQ(taken[0], 7);
}

}  // namespace
}  // namespace dime::kernels
