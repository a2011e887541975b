#include "server/proto_values.h"

#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"

namespace dime {
namespace {

TEST(ProtoValuesTest, DurationsAndTimesKeepTheirNanoseconds) {
  const google::protobuf::Duration duration =
      ToProtoDuration(absl::Seconds(3) + absl::Nanoseconds(7));
  EXPECT_EQ(duration.seconds(), 3);
  EXPECT_EQ(duration.nanos(), 7);
  const google::protobuf::Duration negative = ToProtoDuration(-absl::Milliseconds(1500));
  EXPECT_EQ(negative.seconds(), -1);
  EXPECT_EQ(negative.nanos(), -500000000);
  // The nanoseconds of a time are counted upwards, before the epoch as well.
  const google::protobuf::Timestamp before =
      ToProtoTimestamp(absl::UnixEpoch() - absl::Milliseconds(1500));
  EXPECT_EQ(before.seconds(), -2);
  EXPECT_EQ(before.nanos(), 500000000);
}

TEST(ProtoValuesTest, AMessageBecomesAPayload) {
  const Payload payload = Payload::parse(
      R"({"text": "ö", "number": 1.5, "truth": false, "nothing": null,
          "list": [1.0, "two", [], {"deep": true}], "object": {"": 2.0}, "empty": {}})");
  google::protobuf::Struct message;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(payload.dump(), &message).ok());
  EXPECT_EQ(FromProtoStruct(message), payload);
  EXPECT_EQ(FromProtoStruct(google::protobuf::Struct()), Payload::object());
}

}  // namespace
}  // namespace dime
