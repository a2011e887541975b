#include "server/shutdown_signal.h"

#include <signal.h>
#include <unistd.h>

#include <thread>

#include "gtest/gtest.h"

namespace dime {
namespace {

TEST(ShutdownSignalTest, TheFirstSignalIsNoted) {
  ASSERT_TRUE(InstallShutdownSignal().ok());
  int received = 0;
  std::thread waiter([&received] { received = AwaitShutdownSignal(); });
  kill(getpid(), SIGTERM);
  waiter.join();
  EXPECT_EQ(received, SIGTERM);
}

TEST(ShutdownSignalDeathTest, TheSecondSignalEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        InstallShutdownSignal().IgnoreError();
        raise(SIGINT);
        raise(SIGTERM);
      },
      testing::KilledBySignal(SIGTERM), "");
}

}  // namespace
}  // namespace dime
