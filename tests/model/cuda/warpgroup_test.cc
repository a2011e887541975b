#include "model/cuda/warpgroup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <vector>

#include "model/cuda/row_tiles.h"

namespace dime::cuda {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

constexpr Emulator::Order kEitherOrder[] = {Emulator::Order::kAscending,
                                            Emulator::Order::kDescending};

TEST(WarpgroupTest, DescriptorsAreAsPtxHasThem) {
  const uint64_t descriptor = MatrixDescriptor(/*address=*/0x31230, /*along=*/128, /*across=*/512);
  EXPECT_EQ(descriptor & 0xffff, 0x3123u);          // bits 0 to 13: the address over 16
  EXPECT_EQ(descriptor >> 16 & 0xffff, 128u / 16);  // 16 to 29: the leading dimension's
  EXPECT_EQ(descriptor >> 32 & 0xffff, 512u / 16);  // 32 to 45: the stride's
  EXPECT_EQ(descriptor >> 48, 0u);                  // no swizzling
  EXPECT_EQ(Advanced(descriptor, 256) - descriptor, 16u);
}

TEST(WarpgroupTest, MultipliesMatricesInSharedMemory) {
  constexpr int kColumns = 192, kInner = 32;
  // Small whole numbers, so that sums are exact.
  const auto left = [](int row, int k) { return static_cast<float>((row * 3 + k * 5) % 7 - 3); };
  const auto right = [](int column, int k) { return static_cast<float>((column + k * 3) % 5 - 2); };
  for (const Emulator::Order order : kEitherOrder) {
    std::vector<float> products(64 * kColumns);
    Emulator::Launch(1, 1, kWarpgroup, 32 << 10, order, [&] {
      SharedPieces memory;
      const BlockedRows a = memory.TakeRows(64, kInner), b = memory.TakeRows(kColumns, kInner);
      for (int i = Thread(); i < 64 * kInner; i += kWarpgroup) {
        *a.at(i / kInner, i % kInner) = Narrow(left(i / kInner, i % kInner));
      }
      for (int i = Thread(); i < kColumns * kInner; i += kWarpgroup) {
        *b.at(i / kInner, i % kInner) = Narrow(right(i / kInner, i % kInner));
      }
      PublishToProducts();
      SyncBlock();
      const uint64_t of_a = MatrixDescriptor(SharedAddress(a.values), 128, kInner * 16);
      const uint64_t of_b = MatrixDescriptor(SharedAddress(b.values), 128, kInner * 16);
      float sums[kColumns / 2] = {};
      WarpgroupProducts running;
      running.Begin();
      for (int k = 0; k < kInner; k += 16) {
        running.Multiply<kColumns>(sums, Advanced(of_a, k * 16), Advanced(of_b, k * 16));
      }
      running.End();
      running.Wait<0>();
      const int lane = Thread() % kWarp, row = Thread() / kWarp * 16 + lane / 4;
      for (int i = 0; i < kColumns / 2; ++i) {
        const int m = row + i / 2 % 2 * 8, n = i / 4 * 8 + lane % 4 * 2 + i % 2;
        products[static_cast<size_t>(m * kColumns + n)] = sums[i];
      }
    });
    for (int m = 0; m < 64; ++m) {
      for (int n = 0; n < kColumns; ++n) {
        float expected = 0;
        for (int k = 0; k < kInner; ++k) expected += left(m, k) * right(n, k);
        ASSERT_EQ(products[static_cast<size_t>(m * kColumns + n)], expected) << m << ", " << n;
      }
    }
  }
}

// One warp's copies of six chunks through two places that a warpgroup empties.
TEST(WarpgroupTest, CopiesArriveAtBarriersAndWaitForRoom) {
  constexpr int kChunks = 6, kSlots = 2, kBytes = 256;
  alignas(16) std::array<int, kChunks * kBytes / sizeof(int)> from;
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<int>(i);
  for (const Emulator::Order order : kEitherOrder) {
    std::vector<int> sums(kWarpgroup);
    Emulator::Launch(1, 1, kWarpgroup + kWarp, 1 << 10, order, [&] {
      SharedPieces memory;
      auto* const ring = memory.Take<int>(kSlots * kBytes / static_cast<int>(sizeof(int)));
      auto* const filled = memory.Take<uint64_t>(kSlots);
      auto* const emptied = memory.Take<uint64_t>(kSlots);
      if (Thread() == 0) {
        for (int slot = 0; slot < kSlots; ++slot) {
          InitBarrier(filled + slot, 1);
          InitBarrier(emptied + slot, kWarpgroup);
        }
        PublishBarriers();
      }
      SyncBlock();
      constexpr int kInts = kBytes / sizeof(int);
      for (int chunk = 0; chunk < kChunks; ++chunk) {
        const int slot = chunk % kSlots;
        const auto parity = static_cast<uint32_t>(chunk / kSlots % 2);
        if (Thread() == kWarpgroup) {
          WaitForPhase(emptied + slot, parity ^ 1);
          CopyAndArrive(ring + slot * kInts, from.data() + chunk * kInts, kBytes, filled + slot);
        } else if (Thread() < kWarpgroup) {
          WaitForPhase(filled + slot, parity);
          for (int i = 0; i < kInts; ++i)
            sums[static_cast<size_t>(Thread())] += ring[slot * kInts + i];
          Arrive(emptied + slot);
        }
      }
    });
    const int count = static_cast<int>(from.size());
    EXPECT_THAT(sums, Each(count * (count - 1) / 2));
  }
}

TEST(WarpgroupTest, SomeOfABlocksThreadsMeet) {
  for (const Emulator::Order order : kEitherOrder) {
    std::vector<int> seen(64);
    Emulator::Launch(1, 1, 96, 64 * sizeof(int), order, [&seen] {
      int* const shared = reinterpret_cast<int*>(SharedMemory());
      if (Thread() >= 64) return;
      for (int round = 0; round < 3; ++round) {
        shared[Thread()] = Thread() + round;
        SyncThreads(64);
        seen[static_cast<size_t>(Thread())] = shared[(Thread() + 1) % 64];
        SyncThreads(64);
      }
    });
    for (int t = 0; t < 64; ++t) EXPECT_EQ(seen[static_cast<size_t>(t)], (t + 1) % 64 + 2);
  }
}

// 64 rows of 16 times themselves, under way when it returns.
void BeginSquare(const BlockedRows& rows, WarpgroupProducts& running, float (&sums)[32]) {
  const uint64_t matrix = MatrixDescriptor(SharedAddress(rows.values), 128, 256);
  running.Begin();
  running.Multiply<64>(sums, matrix, matrix);
  running.End();
}

#if defined(DIME_THREAD_SANITIZER)
// What products read was published by those who stored it, and then they met.
TEST(WarpgroupDeathTest, WhatWasNotPublishedIsFound) {
  const auto run = [](bool published, bool met) {
    Emulator::Launch(1, 1, kWarpgroup, 8 << 10, Emulator::Order::kAscending, [&] {
      SharedPieces memory;
      const BlockedRows rows = memory.TakeRows(64, 16);
      for (int i = Thread(); i < 64 * 16; i += kWarpgroup) rows.values[i] = 0;
      if (published) PublishToProducts();
      if (met) SyncBlock();
      float sums[32] = {};
      WarpgroupProducts running;
      BeginSquare(rows, running, sums);
      running.Wait<0>();
    });
    std::exit(0);  // which ThreadSanitizer turns into its own
  };
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(run(true, true), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(run(false, true), testing::ExitedWithCode(66), "data race");
  EXPECT_EXIT(run(true, false), testing::ExitedWithCode(66), "data race");
}
#endif

#if !defined(DIME_THREAD_SANITIZER)
// What would be wrong on a device now and then is wrong on the emulator in one order or the other.
TEST(WarpgroupTest, WhatIsNotWaitedForShows) {
  std::vector<float> before, after;
  for (const Emulator::Order order : kEitherOrder) {
    Emulator::Launch(1, 1, kWarpgroup, 8 << 10, order, [&] {
      SharedPieces memory;
      const BlockedRows ones = memory.TakeRows(64, 16);
      for (int i = Thread(); i < 64 * 16; i += kWarpgroup) ones.values[i] = Narrow(1);
      SyncBlock();
      float sums[32] = {};
      WarpgroupProducts running;
      BeginSquare(ones, running, sums);
      if (Thread() == 0) before.push_back(sums[0]);
      SyncBlock();
      for (int i = Thread(); i < 64 * 16; i += kWarpgroup) ones.values[i] = 0;
      SyncBlock();
      running.Wait<0>();
      if (Thread() == 0) after.push_back(sums[0]);
    });
  }
  EXPECT_THAT(before, ElementsAre(16, 0));
  EXPECT_THAT(after, ElementsAre(16, 0));
}
#endif

}  // namespace
}  // namespace dime::cuda
