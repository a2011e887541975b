#include "server/request_parser.h"

#include <string>

#include "dime/v1/gallery.pb.h"
#include "dime/v1/retrieval.pb.h"
#include "gmock/gmock.h"
#include "grpcpp/support/slice.h"
#include "gtest/gtest.h"
#include "server/error_details.h"
#include "tests/fakes/error_details.h"

namespace dime {
namespace {

constexpr int64_t kMaxBytes = 1000;

using ::testing::ElementsAre;
using ::testing::HasSubstr;

grpc::ByteBuffer Bytes(const std::string& bytes) {
  // In two slices, as they may come from the network.
  const grpc::Slice slices[] = {grpc::Slice(bytes.substr(0, bytes.size() / 2)),
                                grpc::Slice(bytes.substr(bytes.size() / 2))};
  return grpc::ByteBuffer(slices, 2);
}

// A length-delimited field of less than 128 bytes.
std::string Field(int number, const std::string& content) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(content.size())} +
         content;
}

ErrorDetails DetailsOf(const absl::Status& status) {
  return ParseErrorDetails(ToGrpcStatus(status, absl::Seconds(1)));
}

TEST(RequestParserTest, ReadsAMessage) {
  v1::SearchImagesRequest request;
  request.set_text("a blue \xe2\x98\x85");
  request.mutable_options()->set_top_k(7);
  const auto parsed =
      ParseRequest<v1::SearchImagesRequest>(Bytes(request.SerializeAsString()), kMaxBytes);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->text(), request.text());
  EXPECT_EQ(parsed->options().top_k(), 7);
}

TEST(RequestParserTest, NoBytesAreAnEmptyMessage) {
  EXPECT_TRUE(ParseRequest<v1::GetInfoRequest>(Bytes(""), kMaxBytes).ok());
}

TEST(RequestParserTest, NamesAStringThatIsNotUtf8) {
  const auto parsed =
      ParseRequest<v1::SearchImagesRequest>(Bytes(Field(1, "red \xff\xfe star")), kMaxBytes);
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
  const ErrorDetails details = DetailsOf(parsed.status());
  EXPECT_EQ(details.reason, "TEXT_NOT_UTF8");
  ASSERT_THAT(details.Fields(), ElementsAre("text"));
  EXPECT_THAT(details.violations[0].second, HasSubstr("\\xff\\xfe"));
}

TEST(RequestParserTest, NamesAnIdThatIsNotUtf8) {
  const auto parsed =
      ParseRequest<v1::SearchCaptionsRequest>(Bytes(Field(1, "\xed\xa0\x80")), kMaxBytes);
  EXPECT_THAT(DetailsOf(parsed.status()).Fields(), ElementsAre("image_id"));
}

TEST(RequestParserTest, SaysWhatIsNoMessageAtAll) {
  for (const std::string& bytes :
       {std::string("\x0a\x7fshort"), std::string("\xff\xff\xff\xff"), std::string("\x0b")}) {
    const auto parsed = ParseRequest<v1::SearchImagesRequest>(Bytes(bytes), kMaxBytes);
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(DetailsOf(parsed.status()).reason, "MESSAGE_MALFORMED");
    EXPECT_THAT(parsed.status().message(), HasSubstr("no dime.v1.SearchImagesRequest message"));
  }
}

TEST(RequestParserTest, AMalformedInnerMessageIsMalformed) {
  const auto parsed = ParseRequest<v1::SearchImagesRequest>(Bytes(Field(2, "\x08")), kMaxBytes);
  EXPECT_EQ(DetailsOf(parsed.status()).reason, "MESSAGE_MALFORMED");
}

TEST(RequestParserTest, TooManyBytesAreRefusedUnparsed) {
  const auto parsed = ParseRequest<v1::SearchImagesRequest>(
      Bytes(Field(1, std::string(kMaxBytes, 'x'))), kMaxBytes);
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DetailsOf(parsed.status()).reason, "MESSAGE_TOO_LARGE");
}

// A length-delimited field of any size.
std::string LongField(int number, const std::string& content) {
  std::string field(1, static_cast<char>(number << 3 | 2));
  for (size_t size = content.size(); size > 0; size >>= 7) {
    field += static_cast<char>((size & 0x7f) | (size > 0x7f ? 0x80 : 0));
  }
  return field + content;
}

TEST(RequestParserTest, MessagesInMessagesWithoutEndAreNoRequest) {
  // A payload of lists within lists, deeper than any parser's stack should go.
  std::string value = Field(3, "\xff");
  for (int level = 0; level < 8000; ++level) value = LongField(6, LongField(1, value));
  const std::string payload = LongField(1, LongField(1, "k") + LongField(2, value));
  const std::string request = LongField(1, LongField(6, payload));
  const auto parsed =
      ParseRequest<v1::UpsertImagesRequest>(Bytes(request), static_cast<int64_t>(request.size()));
  EXPECT_EQ(DetailsOf(parsed.status()).reason, "MESSAGE_MALFORMED");
}

TEST(RequestParserTest, AnErrorNamesSomeOfManyFaults) {
  std::string request;
  for (int i = 0; i < 1000; ++i) request += Field(2, "\xff");
  const ErrorDetails details =
      DetailsOf(ParseRequest<v1::DeleteItemsRequest>(Bytes(request), 1 << 20).status());
  EXPECT_EQ(details.reason, "TEXT_NOT_UTF8");
  EXPECT_THAT(details.Fields(), testing::SizeIs(16));
}

}  // namespace
}  // namespace dime
