#include "model/cuda/emulator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "absl/functional/function_ref.h"
#include "model/cuda/simt.h"

namespace dime::cuda {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

constexpr Emulator::Order kOrders[] = {Emulator::Order::kAscending, Emulator::Order::kDescending};

TEST(EmulatorTest, RunsEachThreadOfEachBlockOnce) {
  for (const Emulator::Order order : kOrders) {
    std::vector<int> runs(2 * 3 * 64);
    Emulator::Launch(3, 2, 64, 0, order, [&runs] {
      ++runs[static_cast<size_t>((BlockY() * 3 + BlockX()) * 64 + Thread())];
    });
    EXPECT_THAT(runs, Each(1));
  }
}

TEST(EmulatorTest, WhatWasWrittenBeforeABarrierIsReadAfterIt) {
  for (const Emulator::Order order : kOrders) {
    std::vector<int> seen(96);
    Emulator::Launch(1, 1, 96, 96 * sizeof(int), order, [&seen] {
      int* const shared = reinterpret_cast<int*>(SharedMemory());
      for (int round = 0; round < 3; ++round) {
        shared[Thread()] = Thread() + round;
        SyncBlock();
        seen[static_cast<size_t>(Thread())] = shared[(Thread() + 1) % 96];
        SyncBlock();
      }
    });
    for (int t = 0; t < 96; ++t) EXPECT_EQ(seen[static_cast<size_t>(t)], (t + 1) % 96 + 2);
  }
}

#if !defined(DIME_THREAD_SANITIZER)
TEST(EmulatorTest, AMissingBarrierShowsInOneOrderOrTheOther) {
  std::vector<float> results;
  for (const Emulator::Order order : kOrders) {
    float result = 0;
    Emulator::Launch(1, 1, 64, 64 * sizeof(float), order, [&result] {
      auto* const shared = reinterpret_cast<float*>(SharedMemory());
      shared[Thread()] = 1;
      if (Thread() == 63) result = shared[0];
    });
    results.push_back(result);
  }
  EXPECT_EQ(results[0], 1);
  EXPECT_NE(results[1], 1) << "shared memory holds NaNs at first";
}
#else
// That it would be found, whatever the order: each kernel lacks one thing, and gives what it would
// with it.
void ExpectRace(int blocks, absl::FunctionRef<void(int* shared, int* global)> kernel) {
  const auto run = [&] {
    int global = 0;
    Emulator::Launch(blocks, 1, 64, 64 * sizeof(int), Emulator::Order::kAscending,
                     [&] { kernel(reinterpret_cast<int*>(SharedMemory()), &global); });
    std::exit(0);  // which ThreadSanitizer turns into its own
  };
  // A program of its own, whose first launch it is: what threads were there before has been known
  // to decide over what is seen.
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(run(), testing::ExitedWithCode(66), "data race");
}

TEST(EmulatorDeathTest, RacesAreFound) {
  // Between warps, without a barrier; after one that came too early.
  ExpectRace(1, [](int* shared, int*) {
    shared[Thread()] = 1;
    if (Thread() == 63) shared[63] = shared[0];
  });
  ExpectRace(1, [](int* shared, int*) {
    shared[Thread()] = 1;
    SyncBlock();
    const int other = shared[(Thread() + 32) % 64];
    shared[Thread()] = other;
    SyncBlock();
  });
  // Within a warp: that lanes met at an instruction orders nothing.
  ExpectRace(1, [](int* shared, int*) {
    if (Thread() >= 32) return;
    shared[Thread()] = 1;
    ShuffleXor(1, 1);
    if (Thread() == 31) shared[31] = shared[0];
  });
  // Between blocks, near and far: one after the other, but only here.
  for (const int other : {1, 31}) {
    ExpectRace(other + 1, [other](int*, int* global) {
      if (Thread() == 0 && BlockX() % other == 0) ++*global;
    });
  }
  // A matrix is read by the lanes that point to its rows.
  ExpectRace(1, [](int* shared, int*) {
    if (Thread() >= 32) return;
    if (Thread() < 8) shared[Thread() * 4] = 0;
    uint32_t matrices[4];
    LoadMatrices(matrices, reinterpret_cast<Bf16*>(shared) + (Thread() + 1) % 8 * 8);
  });
}
#endif

TEST(EmulatorTest, WhatIsOrderedIsNoRace) {
  int sum = 0;
  std::vector<int> values(2);
  Emulator::Launch(2, 1, 64, 64 * sizeof(int), Emulator::Order::kAscending, [&] {
    int* const shared = reinterpret_cast<int*>(SharedMemory());
    for (int round = 0; round < 5; ++round) {
      shared[Thread()] = 1;
      SyncWarp();
      shared[Thread()] += ShuffleXor(1, 1) > 0 ? 1 : 0;
      SyncBlock();
      if (Thread() == 0) values[static_cast<size_t>(BlockX())] = shared[63];
      SyncBlock();
    }
    AtomicAdd(&sum, 1);
  });
  Emulator::Launch(1, 1, 32, 0, Emulator::Order::kAscending, [&] {
    if (Thread() == 0) sum += values[0] + values[1];  // after the launch before
  });
  EXPECT_EQ(sum, 128 + 4);
}
TEST(EmulatorTest, ThreadsThatEndedAreNotWaitedFor) {
  int after = 0;
  Emulator::Launch(1, 1, 64, 0, Emulator::Order::kAscending, [&after] {
    if (Thread() >= 32) return;
    SyncBlock();
    AtomicAdd(&after, 1);
  });
  EXPECT_EQ(after, 32);
}

TEST(EmulatorDeathTest, ThreadsThatWaitInVainEndTheProgram) {
  EXPECT_DEATH(Emulator::Launch(1, 1, 32, 0, Emulator::Order::kAscending,
                                [] {
                                  if (Thread() != 5) ShuffleXor(1, 1);
                                }),
               "wait for each other in vain");
}

TEST(EmulatorTest, LanesExchangeValues) {
  std::vector<float> sums(64);
  Emulator::Launch(1, 1, 64, 0, Emulator::Order::kDescending, [&sums] {
    float sum = static_cast<float>(Thread());
    for (int mask = 1; mask < kWarp; mask *= 2) sum += ShuffleXor(sum, mask);
    sums[static_cast<size_t>(Thread())] = sum;
  });
  EXPECT_THAT(std::vector<float>(sums.begin(), sums.begin() + 32), Each(31 * 16));
  EXPECT_THAT(std::vector<float>(sums.begin() + 32, sums.end()), Each(31 * 16 + 32 * 32));
}

// As the PTX manual places fragments, by a matrix product and by which lane has what.
TEST(EmulatorTest, MultipliesAsTheMatrixInstructionsDo) {
  const auto left = [](int row, int k) { return static_cast<float>((row * 3 + k) % 7 - 3); };
  const auto right = [](int k, int column) { return static_cast<float>((k * 5 + column) % 5 - 2); };
  float product[16][8];
  Emulator::Launch(1, 1, 32, 16 * 24 * sizeof(Bf16), Emulator::Order::kAscending, [&] {
    constexpr int kLd = 24;
    auto* const shared = reinterpret_cast<Bf16*>(SharedMemory());
    for (int i = Thread(); i < 256; i += 32) {
      shared[i / 16 * kLd + i % 16] = Narrow(left(i / 16, i % 16));
    }
    SyncWarp();
    uint32_t a[1][4], b[1][2];
    LoadMatrices(a[0], shared + Thread() % 16 * kLd + Thread() / 16 * 8);
    const int k = Thread() % 4 * 2, column = Thread() / 4;
    b[0][0] = Pack(right(k, column), right(k + 1, column));
    b[0][1] = Pack(right(k + 8, column), right(k + 9, column));
    float sums[1][1][4] = {{{100, 100, 100, 100}}};
    MultiplyAdd(sums, a, b);
    for (int i = 0; i < 4; ++i) {
      product[Thread() / 4 + i / 2 * 8][Thread() % 4 * 2 + i % 2] = sums[0][0][i];
    }
  });
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      float expected = 100;
      for (int k = 0; k < 16; ++k) expected += left(row, k) * right(k, column);
      EXPECT_EQ(product[row][column], expected) << row << ", " << column;
    }
  }
}

TEST(SimtTest, RoundsToTheNearestBfloat16) {
  EXPECT_EQ(Widen(Narrow(1.0f)), 1.0f);
  EXPECT_EQ(Widen(Narrow(1.00390625f)), 1.0f) << "a tie goes to even";
  EXPECT_EQ(Widen(Narrow(1.01171875f)), 1.015625f);
  EXPECT_EQ(Low(Pack(1, -2)), 1);
  EXPECT_EQ(High(Pack(1, -2)), -2);
}

}  // namespace
}  // namespace dime::cuda
