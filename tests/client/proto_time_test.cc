#include "client/proto_time.h"

#include "gtest/gtest.h"

namespace dime {
namespace {

TEST(ProtoTimeTest, SecondsAndNanosecondsAddUp) {
  google::protobuf::Duration duration;
  duration.set_seconds(2);
  duration.set_nanos(500000000);
  EXPECT_EQ(FromProto(duration), absl::Milliseconds(2500));
  duration.set_seconds(-2);
  duration.set_nanos(-500000000);
  EXPECT_EQ(FromProto(duration), absl::Milliseconds(-2500));
}

TEST(ProtoTimeTest, TimesAreShownInUtcWithMilliseconds) {
  google::protobuf::Timestamp time;
  time.set_seconds(1767323045);
  time.set_nanos(678901234);
  EXPECT_EQ(FromProto(time), absl::FromUnixNanos(1767323045678901234));
  EXPECT_EQ(TimeText(time), "2026-01-02T03:04:05.678Z");
}

}  // namespace
}  // namespace dime
