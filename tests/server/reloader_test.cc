#include "server/reloader.h"

#include <atomic>

#include "gtest/gtest.h"
#include "tests/fakes/gate.h"

namespace dime {
namespace {

TEST(ReloaderTest, OneMoreFollowsHoweverOftenItIsAskedFor) {
  Gate gate;
  std::atomic<int> reloads{0};
  {
    Reloader reloader([&] {
      ++reloads;
      gate.Pass();
    });
    reloader.Ask();
    gate.AwaitArrivals(1);
    // Asking does not wait for the one that is held.
    reloader.Ask();
    reloader.Ask();
    EXPECT_EQ(reloads, 1);
    gate.Open();
    gate.AwaitArrivals(2);
  }
  EXPECT_EQ(reloads, 2);
}

}  // namespace
}  // namespace dime
