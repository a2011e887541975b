#include "server/proto_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "dime/v1/gallery.pb.h"
#include "index/item_records.h"

namespace dime {
namespace {

// What a client makes of a stored payload.
Payload FromStored(const std::string& stored) {
  const absl::StatusOr<std::string> wire = SerializeStoredPayload(stored);
  google::protobuf::Struct message;
  if (!wire.ok() || !message.ParseFromString(*wire)) return "not parsed";
  return FromProtoStruct(message);
}

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
  EXPECT_EQ(FromStored(SerializePayload(payload)), payload);
}

TEST(ProtoValuesTest, LongStoredPayloadsAreSerializedToo) {
  // Names, texts, lists and objects whose lengths take one byte, two and three.
  for (const size_t size : {1, 100, 127, 128, 129, 300, 16382, 16383, 16384, 40000}) {
    const std::string text(size, 'x');
    const Payload payload = {{"text", text},
                             {text.substr(0, 300), 1.0},
                             {"list", Payload::array({text, {{"in", text}}})}};
    EXPECT_EQ(FromStored(SerializePayload(payload)), payload) << size;
  }
}

TEST(ProtoValuesTest, WhatIsNoStoredPayloadIsRefused) {
  const std::string stored = SerializePayload({{"list", {1.0, "two"}}, {"text", "three"}});
  for (size_t size = 0; size < stored.size(); ++size) {
    EXPECT_FALSE(SerializeStoredPayload(stored.substr(0, size)).ok()) << size;
  }
  Payload deep = 1.0;
  for (int i = 0; i <= kMaxPayloadDepth + 1; ++i) deep = Payload::array({deep});
  for (const Payload& payload :
       {Payload(1.0), Payload("text"), Payload::array({1.0}), Payload(true),
        Payload({{"x", std::numeric_limits<double>::quiet_NaN()}}), Payload({{"x", deep}})}) {
    EXPECT_FALSE(SerializeStoredPayload(SerializePayload(payload)).ok()) << payload;
  }
  EXPECT_FALSE(SerializeStoredPayload(stored + "x").ok());
}

TEST(ProtoValuesTest, OfAStoredNameThatComesTwiceTheLastValueCounts) {
  // {"a": [1], "a": [2]}
  const std::string stored = "\xa2\x61\x61\x81\x01\x61\x61\x81\x02";
  EXPECT_EQ(FromStored(stored), *ParsePayload(stored));
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
