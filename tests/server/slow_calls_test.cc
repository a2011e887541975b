#include "server/slow_calls.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "grpcpp/support/slice.h"
#include "gtest/gtest.h"

namespace dime {
namespace {

CallReport Call(const std::string& id, absl::Duration duration, size_t request_bytes = 3) {
  CallReport call;
  call.request_id = id;
  call.duration = duration;
  const grpc::Slice bytes(std::string(request_bytes, 'x'));
  call.request = grpc::ByteBuffer(&bytes, 1);
  return call;
}

TEST(SlowCallsTest, SlowIsWhatTakesAsLongOrUsesItsTimeUp) {
  const SlowCalls slow({.threshold = absl::Seconds(1)});
  EXPECT_FALSE(slow.IsSlow(Call("a", absl::Milliseconds(999))));
  EXPECT_TRUE(slow.IsSlow(Call("a", absl::Seconds(1))));
  CallReport late = Call("a", absl::Milliseconds(20));
  late.code = absl::StatusCode::kDeadlineExceeded;
  EXPECT_TRUE(slow.IsSlow(late));
  const SlowCalls none({.threshold = absl::Seconds(1), .capacity = 0});
  EXPECT_FALSE(none.IsSlow(late));
}

TEST(SlowCallsTest, KeepsTheNewest) {
  SlowCalls slow({.capacity = 3});
  for (int i = 0; i < 5; ++i) slow.Keep(Call(absl::StrCat(i), absl::Seconds(2)));
  const auto listed = slow.List();
  ASSERT_EQ(listed.size(), 3u);
  EXPECT_EQ(listed[0]->request_id, "4");
  EXPECT_EQ(listed[2]->request_id, "2");
}

TEST(SlowCallsTest, ALargeRequestIsLeftOutButItsSizeIsKnown) {
  SlowCalls slow({.max_request_bytes = 10});
  slow.Keep(Call("small", absl::Seconds(2), 10));
  slow.Keep(Call("large", absl::Seconds(2), 11));
  const auto listed = slow.List();
  EXPECT_EQ(listed[0]->request.Length(), 0u);
  EXPECT_EQ(listed[0]->request_bytes, 11);
  EXPECT_EQ(listed[1]->request.Length(), 10u);
  EXPECT_EQ(listed[1]->request_bytes, 10);
}

TEST(SlowCallsTest, RequestsTakeNoMoreThanTheyMay) {
  SlowCalls slow({.max_request_bytes = 10, .max_bytes = 25});
  for (int i = 0; i < 4; ++i) slow.Keep(Call(absl::StrCat(i), absl::Seconds(2), 10));
  const auto listed = slow.List();
  ASSERT_EQ(listed.size(), 2u);
  EXPECT_EQ(listed[0]->request_id, "3");
  EXPECT_EQ(listed[1]->request_id, "2");
  // What is not kept with its call takes no room.
  for (int i = 4; i < 9; ++i) slow.Keep(Call(absl::StrCat(i), absl::Seconds(2), 11));
  EXPECT_EQ(slow.List().size(), 7u);
}

}  // namespace
}  // namespace dime
