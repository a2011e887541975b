#include "server/process_signals.h"

#include <signal.h>
#include <unistd.h>

#include <thread>

#include "gtest/gtest.h"

namespace dime {
namespace {

TEST(ProcessSignalsTest, TheFirstSignalIsNoted) {
  ASSERT_TRUE(InstallSignals().ok());
  int received = 0;
  std::thread waiter([&received] { received = AwaitSignal(); });
  kill(getpid(), SIGTERM);
  waiter.join();
  EXPECT_EQ(received, SIGTERM);
}

TEST(ProcessSignalsTest, AHangupComesAgainAndAgain) {
  ASSERT_TRUE(InstallSignals().ok());
  raise(SIGHUP);
  raise(SIGHUP);
  EXPECT_EQ(AwaitSignal(), SIGHUP);
  EXPECT_EQ(AwaitSignal(), SIGHUP);
}

TEST(ProcessSignalsDeathTest, TheSecondSignalEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        InstallSignals().IgnoreError();
        raise(SIGINT);
        raise(SIGTERM);
      },
      testing::KilledBySignal(SIGTERM), "");
}

}  // namespace
}  // namespace dime
