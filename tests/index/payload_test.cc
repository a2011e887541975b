#include "index/payload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "absl/strings/str_cat.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using testing::HasSubstr;

TEST(PayloadTest, NumbersBecomeDoublesAndBytesGiveItBack) {
  ASSERT_OK_AND_ASSIGN(
      const Payload payload,
      PayloadFromJson(R"({"n": 3, "deep": {"list": [1, "caf\u00e9", null, true]}, "x": -2.5})"));
  EXPECT_TRUE(payload["n"].is_number_float());
  EXPECT_TRUE(payload["deep"]["list"][0].is_number_float());
  ASSERT_OK_AND_ASSIGN(const Payload back, ParsePayload(SerializePayload(payload)));
  EXPECT_EQ(back, payload);
  EXPECT_EQ(SerializePayload(Payload()), "");
  ASSERT_OK_AND_ASSIGN(const Payload none, ParsePayload(""));
  EXPECT_TRUE(none.is_null());
}

TEST(PayloadTest, HostileBytesAreDamagedAndNoMore) {
  // An object, and a list, of more elements than there can be; lists in lists without end; {"a":
  // [NaN]} and {"a": infinity}, which no payload has.
  for (const std::string& bytes :
       {std::string("\xbb\x39\x32\x30\x31\x37\x31\x38\x30", 9),
        std::string("\xa1\x61\x61\x9b\x7f\xff\xff\xff\xff\xff\xff\xff", 12),
        std::string("\xa1\x61\x61", 3) + std::string(10'000'000, '\x81'), std::string("\xff"),
        std::string("\xa1\x61\x61", 3) + std::string(4'000, '\x81'),
        std::string("\xa1\x61\x61\x81\xfa\xff\x8c\x96\x00", 9),
        std::string("\xa1\x61\x61\xfa\x7f\x80\x00\x00", 8)}) {
    EXPECT_EQ(ParsePayload(bytes).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(PayloadTest, FaultsAreNamed) {
  EXPECT_THAT(PayloadFromJson("[1]"), StatusIs(kInvalid, HasSubstr("must be an object")));
  EXPECT_THAT(PayloadFromJson("{"), StatusIs(kInvalid, HasSubstr("no JSON")));
  EXPECT_THAT(PayloadFromJson(R"({"a": {"": 1}})"),
              StatusIs(kInvalid, HasSubstr("field a has a field without a name")));
  Payload payload = {{"a", {{"b", std::numeric_limits<double>::infinity()}}}};
  EXPECT_THAT(CheckPayload(payload), StatusIs(kInvalid, HasSubstr("field a.b is not a finite")));
  payload = {{"a", "\xff"}};
  EXPECT_THAT(CheckPayload(payload), StatusIs(kInvalid, HasSubstr("field a is no UTF-8")));
  std::string deep = "1";
  for (int level = 0; level < kMaxPayloadDepth; ++level) deep = absl::StrCat("{\"a\":", deep, "}");
  EXPECT_THAT(PayloadFromJson(deep), IsOk());
  EXPECT_THAT(PayloadFromJson(absl::StrCat("{\"a\":", deep, "}")),
              StatusIs(kInvalid, HasSubstr("nested")));
  payload = {{"a", std::string(kMaxPayloadBytes, 'x')}};
  EXPECT_THAT(CheckPayload(payload), StatusIs(kInvalid, HasSubstr("bytes")));
  EXPECT_THAT(ParsePayload("\xa1\x61"), StatusIs(kInvalid, HasSubstr("damaged")));
}

}  // namespace
}  // namespace dime
