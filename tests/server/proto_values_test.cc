#include "server/proto_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "dime/v1/gallery.pb.h"
#include "index/item_records.h"

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

TEST(ProtoValuesTest, PayloadsComeBackAsTheyWere) {
  const Payload payload = Payload::parse(
      R"({"text": "ö", "number": 1.5, "truth": false, "nothing": null,
          "list": [1.0, "two", [], {"deep": true}], "object": {"": 2.0}, "empty": {}})");
  EXPECT_EQ(FromProtoStruct(ToProtoStruct(payload)), payload);
  EXPECT_EQ(FromProtoStruct(google::protobuf::Struct()), Payload::object());
}

TEST(ProtoValuesTest, AStoredPayloadBecomesTheMessageOfTheParsedOne) {
  const Payload payload = Payload::parse(
      R"({"text": "ö", "number": 1.5, "truth": false, "nothing": null,
          "list": [1.0, "two", [], {"deep": true}, null], "object": {"a": {"b": [[]]}}, "empty": {}})");
  google::protobuf::Struct message;
  ASSERT_TRUE(AddStoredPayload(SerializePayload(payload), message).ok());
  EXPECT_EQ(FromProtoStruct(message), payload);
}

TEST(ProtoValuesTest, WhatIsNoStoredPayloadIsRefused) {
  const std::string stored = SerializePayload({{"list", {1.0, "two"}}, {"text", "three"}});
  for (size_t size = 0; size < stored.size(); ++size) {
    google::protobuf::Struct message;
    EXPECT_FALSE(AddStoredPayload(stored.substr(0, size), message).ok()) << size;
  }
  Payload deep = 1.0;
  for (int i = 0; i <= kMaxPayloadDepth + 1; ++i) deep = Payload::array({deep});
  for (const Payload& payload :
       {Payload(1.0), Payload("text"), Payload::array({1.0}), Payload(true),
        Payload({{"x", std::numeric_limits<double>::quiet_NaN()}}), Payload({{"x", deep}})}) {
    google::protobuf::Struct message;
    EXPECT_FALSE(AddStoredPayload(SerializePayload(payload), message).ok()) << payload;
  }
  google::protobuf::Struct message;
  EXPECT_FALSE(AddStoredPayload(stored + "x", message).ok());
}

TEST(ProtoValuesTest, OfAStoredNameThatComesTwiceTheLastValueCounts) {
  // {"a": [1], "a": [2]}
  const std::string stored = "\xa2\x61\x61\x81\x01\x61\x61\x81\x02";
  google::protobuf::Struct message;
  ASSERT_TRUE(AddStoredPayload(stored, message).ok());
  EXPECT_EQ(FromProtoStruct(message), *ParsePayload(stored));
}

TEST(ProtoValuesTest, WhatARecordDoesNotKnowIsAbsent) {
  ImageRecord record;
  v1::Image image;
  WriteCommonFields(record, image);
  EXPECT_FALSE(image.has_payload());
  EXPECT_FALSE(image.has_create_time());
  record.payload = Payload::object();
  record.update_time = absl::UnixEpoch() + absl::Seconds(5);
  WriteCommonFields(record, image);
  EXPECT_TRUE(image.has_payload());
  EXPECT_FALSE(image.has_create_time());
  EXPECT_EQ(image.update_time().seconds(), 5);
}

}  // namespace
}  // namespace dime
