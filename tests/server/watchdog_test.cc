#include "server/watchdog.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime {
namespace {

using ::testing::ElementsAre;

TEST(WatchdogTest, TellsOfAStandstillAndOfItsEndOnceEach) {
  std::atomic<int> age_seconds{0};
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<bool> told;
  int looks = 0;
  const auto await_looks = [&](int more) {
    std::unique_lock<std::mutex> lock(mutex);
    const int wanted = looks + more;
    changed.wait(lock, [&] { return looks >= wanted; });
  };
  const Watchdog watchdog({.limit = absl::Seconds(10),
                           .period = absl::Microseconds(100),
                           .age =
                               [&] {
                                 std::lock_guard<std::mutex> lock(mutex);
                                 ++looks;
                                 changed.notify_all();
                                 return absl::Seconds(age_seconds.load());
                               },
                           .on_change =
                               [&](bool stalled) {
                                 std::lock_guard<std::mutex> lock(mutex);
                                 told.push_back(stalled);
                               }});
  await_looks(2);
  age_seconds = 10;
  await_looks(2);
  age_seconds = 11;
  await_looks(4);
  age_seconds = 0;
  await_looks(4);
  std::lock_guard<std::mutex> lock(mutex);
  EXPECT_THAT(told, ElementsAre(true, false));
}

TEST(WatchdogTest, EndsAtOnceHoweverLongItsPeriod) {
  const Watchdog watchdog({.period = absl::Hours(1),
                           .age = [] { return absl::ZeroDuration(); },
                           .on_change = [](bool) {}});
}

}  // namespace
}  // namespace dime
