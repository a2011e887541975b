#include "server/error_details.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/error_details.h"

namespace dime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

constexpr absl::Duration kLongDelay = absl::Milliseconds(1250);

TEST(ErrorDetailsTest, AllViolationsAreNamed) {
  const grpc::Status status = ToGrpcStatus(
      InvalidRequestError({{"options.top_k", v1::ERROR_REASON_VALUE_OUT_OF_RANGE, "must be 1"},
                           {"text", v1::ERROR_REASON_TEXT_EMPTY, "must not be empty"}}),
      kLongDelay);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "options.top_k: must be 1; text: must not be empty");
  const ErrorDetails details = ParseErrorDetails(status);
  EXPECT_EQ(details.reason, "VALUE_OUT_OF_RANGE");
  EXPECT_EQ(details.domain, "dime.v1");
  EXPECT_THAT(details.violations,
              ElementsAre(Pair("options.top_k", "must be 1"), Pair("text", "must not be empty")));
  EXPECT_FALSE(details.retry_delay_ms.has_value());
}

TEST(ErrorDetailsTest, AMissingItemIsAResource) {
  const grpc::Status status = ToGrpcStatus(ItemNotFoundError(Modality::kImage, "cat"), kLongDelay);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(status.error_message(), HasSubstr("\"cat\""));
  const ErrorDetails details = ParseErrorDetails(status);
  EXPECT_EQ(details.reason, "ITEM_NOT_FOUND");
  EXPECT_EQ(details.resource_type, "image");
  EXPECT_EQ(details.resource_name, "\"cat\"");
}

TEST(ErrorDetailsTest, AnEmptyGalleryIsAPrecondition) {
  const grpc::Status status =
      ToGrpcStatus(GalleryEmptyError("shop", Modality::kCaption), kLongDelay);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(status.error_message(), "gallery shop holds no captions");
  EXPECT_EQ(ParseErrorDetails(status).reason, "GALLERY_EMPTY");
}

TEST(ErrorDetailsTest, LoadSaysWhenToComeBack) {
  for (const auto& [error, reason] :
       {std::pair(absl::ResourceExhaustedError("full"), "QUEUE_FULL"),
        std::pair(absl::UnavailableError("draining"), "UNAVAILABLE")}) {
    const grpc::Status status = ToGrpcStatus(error, kLongDelay);
    EXPECT_EQ(status.error_code(), static_cast<grpc::StatusCode>(error.code()));
    const ErrorDetails details = ParseErrorDetails(status);
    EXPECT_EQ(details.reason, reason);
    EXPECT_EQ(details.retry_delay_ms, 1250);
  }
}

TEST(ErrorDetailsTest, TheCallersOwnEndsKeepTheirCodes) {
  EXPECT_EQ(ParseErrorDetails(ToGrpcStatus(absl::DeadlineExceededError("late"), kLongDelay)).reason,
            "DEADLINE_EXCEEDED");
  EXPECT_EQ(ParseErrorDetails(ToGrpcStatus(absl::CancelledError("gone"), kLongDelay)).reason,
            "CANCELLED");
}

TEST(ErrorDetailsTest, ErrorsNotMeantForCallersAreInternal) {
  for (const absl::Status& error :
       {absl::InvalidArgumentError("x"), absl::NotFoundError("x"), absl::UnknownError("x"),
        absl::FailedPreconditionError("x"), absl::DataLossError("x"), absl::InternalError("x")}) {
    const grpc::Status status = ToGrpcStatus(error, kLongDelay);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL) << error;
    EXPECT_EQ(ParseErrorDetails(status).reason, "INTERNAL") << error;
  }
}

TEST(ErrorDetailsTest, OkIsOk) { EXPECT_TRUE(ToGrpcStatus(absl::OkStatus(), kLongDelay).ok()); }

TEST(ErrorDetailsTest, AReasonGivenStaysAsItIs) {
  const absl::Status status =
      ReasonedError(absl::StatusCode::kUnavailable, v1::ERROR_REASON_STORE_UNWRITABLE, "disk full");
  const grpc::Status answer = ToGrpcStatus(status, kLongDelay);
  EXPECT_EQ(answer.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(answer.error_message(), "disk full");
  EXPECT_EQ(ParseErrorDetails(answer).reason, "STORE_UNWRITABLE");
  EXPECT_EQ(ParseErrorDetails(answer).retry_delay_ms, 1250);
}

TEST(ErrorDetailsTest, PartsOfACallGetTheSameInShort) {
  EXPECT_EQ(ToOutcome(absl::OkStatus(), kLongDelay).ByteSizeLong(), 0u);
  const v1::Outcome missing = ToOutcome(ItemNotFoundError(Modality::kImage, "x"), kLongDelay);
  EXPECT_EQ(missing.code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(missing.reason(), v1::ERROR_REASON_ITEM_NOT_FOUND);
  EXPECT_EQ(missing.message(), "no image of the gallery has the id \"x\"");
  EXPECT_FALSE(missing.has_retry_delay());
  const v1::Outcome full = ToOutcome(absl::ResourceExhaustedError("full"), kLongDelay);
  EXPECT_EQ(full.reason(), v1::ERROR_REASON_QUEUE_FULL);
  EXPECT_EQ(full.retry_delay().seconds(), 1);
  EXPECT_EQ(full.retry_delay().nanos(), 250000000);
  EXPECT_EQ(ToOutcome(absl::DataLossError("x"), kLongDelay).reason(), v1::ERROR_REASON_INTERNAL);
}

}  // namespace
}  // namespace dime
