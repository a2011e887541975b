#include "client/message_json.h"

#include <string>

#include "dime/v1/gallery.pb.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace dime {
namespace {

TEST(MessageJsonTest, FieldsKeepTheirNamesAndAreThereWithoutAValue) {
  v1::Caption caption;
  caption.set_id("c \"1\"");
  caption.set_image_id("i");
  const auto text = ToJson(caption);
  ASSERT_TRUE(text.ok()) << text.status();
  const nlohmann::json json = nlohmann::json::parse(*text);
  EXPECT_EQ(json.at("id"), "c \"1\"");
  EXPECT_EQ(json.at("image_id"), "i");
  EXPECT_EQ(json.at("text"), "");
  EXPECT_GT(text->find('\n'), 0u);
}

TEST(MessageJsonTest, APayloadIsOneLineOrNothing) {
  google::protobuf::Struct payload;
  EXPECT_EQ(PayloadText(payload), "");
  (*payload.mutable_fields())["n"].set_number_value(2);
  (*payload.mutable_fields())["tag"].set_string_value("a\nb");
  const std::string text = PayloadText(payload);
  EXPECT_EQ(text.find('\n'), std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(text), nlohmann::json({{"n", 2}, {"tag", "a\nb"}}));
}

}  // namespace
}  // namespace dime
