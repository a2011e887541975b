#include "server/call_ledger.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>

#include "tests/fakes/gate.h"

namespace dime {
namespace {

TEST(CallLedgerTest, AdmitsUntilItDrains) {
  CallLedger ledger;
  const CallLedger::Entry before = ledger.Begin();
  EXPECT_TRUE(before.admitted);
  ledger.StartDraining();
  const CallLedger::Entry after = ledger.Begin();
  EXPECT_FALSE(after.admitted);
  EXPECT_FALSE(ledger.AwaitCalls(absl::InfinitePast()));
  ledger.End(before);
  EXPECT_FALSE(ledger.AwaitCalls(absl::InfinitePast()));
  ledger.End(after);
  EXPECT_TRUE(ledger.AwaitCalls(absl::InfiniteFuture()));
}

TEST(CallLedgerTest, TellsOnceThoseWhoAreUnderWay) {
  CallLedger ledger;
  int told = 0, told_ended = 0;
  const CallLedger::Entry call = ledger.Begin([&told] { ++told; });
  const CallLedger::Entry ended = ledger.Begin([&told_ended] { ++told_ended; });
  ledger.End(ended);
  ledger.StartDraining();
  ledger.StartDraining();
  EXPECT_EQ(told, 1);
  EXPECT_EQ(told_ended, 0);
  // Too late to be told: it is not admitted.
  const CallLedger::Entry late = ledger.Begin([&told] { ++told; });
  EXPECT_FALSE(late.admitted);
  EXPECT_EQ(told, 1);
  ledger.End(late);
  ledger.End(call);
}

TEST(CallLedgerTest, AListenerMayEndItsCall) {
  CallLedger ledger;
  CallLedger::Entry call;
  call = ledger.Begin([&] { ledger.End(call); });
  ledger.StartDraining();
  EXPECT_TRUE(ledger.AwaitCalls(absl::InfiniteFuture()));
}

TEST(CallLedgerTest, WhatAListenerHoldsGoesWithItsCall) {
  CallLedger ledger;
  auto held = std::make_shared<int>(1);
  const std::weak_ptr<int> watched = held;
  const CallLedger::Entry call = ledger.Begin([held = std::move(held)] {});
  ledger.End(call);
  EXPECT_TRUE(watched.expired());
}

TEST(CallLedgerTest, WaitsForCallsOfOtherThreads) {
  CallLedger ledger;
  Gate gate;
  const CallLedger::Entry call = ledger.Begin();
  std::thread other([&] {
    gate.Pass();
    ledger.End(call);
  });
  gate.AwaitArrivals(1);
  EXPECT_FALSE(ledger.AwaitCalls(absl::InfinitePast()));
  gate.Open();
  EXPECT_TRUE(ledger.AwaitCalls(absl::InfiniteFuture()));
  other.join();
}

}  // namespace
}  // namespace dime
