#include "server/window_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

namespace dime {
namespace {

class WindowCacheTest : public testing::Test {
 protected:
  static std::shared_ptr<const ResultWindow> Window(int hits) {
    auto window = std::make_shared<ResultWindow>();
    window->result.hits.resize(hits);
    return window;
  }
  WindowCache::Options Options() {
    return {.ttl = absl::Seconds(10), .now = [this] { return now_; }};
  }

  absl::Time now_ = absl::UnixEpoch();
};

TEST_F(WindowCacheTest, FindsWhatWasPut) {
  WindowCache cache(Options());
  const auto one = Window(1), two = Window(2);
  const std::string first = cache.Put(one), second = cache.Put(two);
  EXPECT_THAT(first, testing::MatchesRegex("[0-9a-f]+"));
  EXPECT_EQ(first.size(), 32u);
  EXPECT_NE(first, second);
  EXPECT_EQ(cache.Find(first), one);
  EXPECT_EQ(cache.Find(second), two);
  EXPECT_EQ(cache.Find("nothing"), nullptr);
  EXPECT_EQ(cache.size().windows, 2);
  EXPECT_EQ(cache.size().bytes, one->Bytes() + two->Bytes());
}

TEST_F(WindowCacheTest, ForgetsWhatIsNotUsed) {
  WindowCache cache(Options());
  const std::string used = cache.Put(Window(1)), unused = cache.Put(Window(1));
  now_ += absl::Seconds(9);
  EXPECT_NE(cache.Find(used), nullptr);
  now_ += absl::Seconds(1);
  EXPECT_EQ(cache.Find(unused), nullptr);
  EXPECT_NE(cache.Find(used), nullptr);
  now_ += absl::Seconds(10);
  cache.DropExpired();
  EXPECT_EQ(cache.size().windows, 0);
  EXPECT_EQ(cache.size().bytes, 0);
}

TEST_F(WindowCacheTest, WhatIsForgottenIsReleased) {
  WindowCache cache(Options());
  auto window = Window(1);
  const std::weak_ptr<const ResultWindow> watched = window;
  cache.Put(std::move(window));
  EXPECT_FALSE(watched.expired());
  now_ += absl::Seconds(10);
  cache.DropExpired();
  EXPECT_TRUE(watched.expired());
}

TEST_F(WindowCacheTest, MemoryIsBounded) {
  WindowCache::Options options = Options();
  options.max_bytes = 3 * Window(10)->Bytes();
  WindowCache cache(options);
  const std::string a = cache.Put(Window(10)), b = cache.Put(Window(10)), c = cache.Put(Window(10));
  EXPECT_NE(cache.Find(a), nullptr);  // so that b is now the least recently used
  const std::string d = cache.Put(Window(10));
  EXPECT_EQ(cache.Find(b), nullptr);
  EXPECT_NE(cache.Find(a), nullptr);
  EXPECT_NE(cache.Find(c), nullptr);
  EXPECT_NE(cache.Find(d), nullptr);
  // The newest stays, however large it is.
  const std::string large = cache.Put(Window(1000));
  EXPECT_NE(cache.Find(large), nullptr);
  EXPECT_EQ(cache.size().windows, 1);
}

TEST_F(WindowCacheTest, SoIsTheirNumber) {
  WindowCache::Options options = Options();
  options.max_windows = 2;
  WindowCache cache(options);
  const std::string a = cache.Put(Window(1)), b = cache.Put(Window(1)), c = cache.Put(Window(1));
  EXPECT_EQ(cache.Find(a), nullptr);
  EXPECT_NE(cache.Find(b), nullptr);
  EXPECT_NE(cache.Find(c), nullptr);
}

}  // namespace
}  // namespace dime
