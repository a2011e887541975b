#include "server/payload_message.h"

#include <limits>
#include <string>

#include "dime/v1/gallery.pb.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "index/item_records.h"

namespace dime {
namespace {

// What a client makes of it.
Payload FromWire(const std::string& wire) {
  google::protobuf::Struct message;
  if (!message.ParseFromString(wire)) return "not parsed";
  return FromProtoStruct(message);
}
Payload FromStored(const std::string& stored) {
  const absl::StatusOr<std::string> wire = SerializeStoredPayload(stored);
  return wire.ok() ? FromWire(*wire) : "refused";
}

// The message as protobuf makes it.
google::protobuf::Struct MessageOf(const Payload& payload) {
  google::protobuf::Struct message;
  EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(payload.dump(), &message).ok());
  return message;
}

// What a client gets of an item.
v1::Image Sent(const ImageRecord& record) {
  v1::Image image, received;
  WriteCommonFields(record, image);
  EXPECT_TRUE(received.ParseFromString(image.SerializeAsString()));
  return received;
}

TEST(PayloadMessageTest, APayloadAndAStoredOneBecomeItsMessage) {
  const Payload payload = Payload::parse(
      R"({"text": "ö", "number": 1.5, "truth": false, "nothing": null,
          "list": [1.0, "two", [], {"deep": true}, null], "object": {"a": {"b": [[]]}, "": 2.0},
          "empty": {}})");
  EXPECT_EQ(FromStored(SerializePayload(payload)), payload);
  EXPECT_EQ(FromWire(SerializePayloadMessage(payload)), payload);
  EXPECT_EQ(FromWire(SerializePayloadMessage(Payload::object())), Payload::object());
}

TEST(PayloadMessageTest, LongStoredPayloadsAreSerializedToo) {
  // Names, texts, lists and objects whose lengths take one byte, two and three.
  for (const size_t size : {1, 100, 127, 128, 129, 300, 16382, 16383, 16384, 40000}) {
    const std::string text(size, 'x');
    const Payload payload = {{"text", text},
                             {text.substr(0, 300), 1.0},
                             {"list", Payload::array({text, {{"in", text}}})}};
    const std::string wire = SerializePayloadMessage(payload);
    EXPECT_EQ(FromWire(wire), payload) << size;
    EXPECT_EQ(SerializeStoredPayload(SerializePayload(payload)).value(), wire) << size;
    EXPECT_EQ(wire.size(), MessageOf(payload).ByteSizeLong())
        << "lengths take no more than they must";
  }
}

TEST(PayloadMessageTest, WhatIsNoStoredPayloadIsRefused) {
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

TEST(PayloadMessageTest, OfAStoredNameThatComesTwiceTheLastValueCounts) {
  // {"a": [1], "a": [2]}
  const std::string stored = "\xa2\x61\x61\x81\x01\x61\x61\x81\x02";
  EXPECT_EQ(FromStored(stored), *ParsePayload(stored));
}

TEST(PayloadMessageTest, WhatARecordDoesNotKnowIsAbsent) {
  ImageRecord record;
  v1::Image image = Sent(record);
  EXPECT_FALSE(image.has_payload());
  EXPECT_FALSE(image.has_create_time());
  record.payload = Payload::object();
  record.update_time = absl::UnixEpoch() + absl::Seconds(5);
  image = Sent(record);
  EXPECT_TRUE(image.has_payload());
  EXPECT_FALSE(image.has_create_time());
  EXPECT_EQ(image.update_time().seconds(), 5);
}

}  // namespace
}  // namespace dime
