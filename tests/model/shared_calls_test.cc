#include "model/shared_calls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tests/fakes/gate.h"

namespace dime {
namespace {

using testing::Each;

struct Item {
  int asked = 0;
  int answer = 0;
};

TEST(SharedCallsTest, AnItemThatFindsNothingUnderWayGoesAtOnce) {
  SharedCalls<Item> calls(4);
  std::vector<size_t> sizes;
  for (int i = 0; i < 3; ++i) {
    Item item = {.asked = i};
    calls.Run(item, [&sizes](absl::Span<Item* const> batch) {
      sizes.push_back(batch.size());
      for (Item* of_batch : batch) of_batch->answer = of_batch->asked + 10;
    });
    EXPECT_EQ(item.answer, i + 10);
  }
  EXPECT_THAT(sizes, Each(1u));
}

TEST(SharedCallsTest, WhatWaitsGoesTogetherUpToTheMost) {
  SharedCalls<Item> calls(4);
  Gate gate;
  std::atomic<int> under_way{0}, started{0};
  std::vector<size_t> sizes;  // calls are never two at a time
  std::vector<Item> items(8);
  const auto call = [&](absl::Span<Item* const> batch) {
    EXPECT_EQ(++under_way, 1);
    if (sizes.empty()) gate.Pass();
    sizes.push_back(batch.size());
    for (Item* item : batch) item->answer = item->asked + 10;
    --under_way;
  };
  std::vector<std::thread> callers;
  const auto start = [&](size_t i) {
    items[i].asked = static_cast<int>(i);
    callers.emplace_back([&, i] {
      ++started;
      calls.Run(items[i], call);
    });
  };
  start(0);
  gate.AwaitArrivals(1);
  for (size_t i = 1; i < items.size(); ++i) start(i);
  while (started < 8) std::this_thread::yield();
  gate.Open();
  for (std::thread& caller : callers) caller.join();
  for (size_t i = 0; i < items.size(); ++i) EXPECT_EQ(items[i].answer, static_cast<int>(i) + 10);
  EXPECT_EQ(sizes.front(), 1u);
  size_t sum = 0;
  for (const size_t size : sizes) {
    EXPECT_LE(size, 4u);
    sum += size;
  }
  EXPECT_EQ(sum, items.size());
}

}  // namespace
}  // namespace dime
