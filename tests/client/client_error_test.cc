#include "client/client_error.h"

#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"
#include "tests/client/fake_retrieval_server.h"

namespace dime {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

TEST(ClientErrorTest, OkStaysOk) {
  EXPECT_TRUE(StatusFromGrpc(grpc::Status::OK).ok());
  EXPECT_EQ(ClientError::FromStatus(absl::OkStatus()).code, absl::StatusCode::kOk);
}

TEST(ClientErrorTest, CarriesCodeAndMessageWithoutDetails) {
  const absl::Status status =
      StatusFromGrpc(grpc::Status(grpc::StatusCode::UNAVAILABLE, "connection refused"));
  EXPECT_EQ(status, absl::UnavailableError("connection refused"));
  const ClientError error = ClientError::FromStatus(status);
  EXPECT_EQ(error.code, absl::StatusCode::kUnavailable);
  EXPECT_EQ(error.message, "connection refused");
  EXPECT_FALSE(error.has_reason());
  EXPECT_TRUE(error.field_violations.empty());
  EXPECT_FALSE(error.retry_delay.has_value());
}

TEST(ClientErrorTest, ReadsEveryDetail) {
  google::rpc::BadRequest bad_request;
  for (const char* field : {"text", "options.top_k"}) {
    auto* violation = bad_request.add_field_violations();
    violation->set_field(field);
    violation->set_description(std::string(field) + " is wrong");
  }
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(1);
  retry.mutable_retry_delay()->set_nanos(500000000);
  google::rpc::ResourceInfo resource;
  resource.set_resource_type("image");
  resource.set_resource_name("scene-9");
  google::rpc::ErrorInfo info;
  info.set_domain("dime.v1");
  info.set_reason("VALUE_OUT_OF_RANGE");
  (*info.mutable_metadata())["max"] = "100";
  const ClientError error = ClientError::FromStatus(StatusFromGrpc(
      DetailedStatus(grpc::StatusCode::INVALID_ARGUMENT, "bad", "VALUE_OUT_OF_RANGE",
                     {ToAny(bad_request), ToAny(retry), ToAny(resource), ToAny(info)})));
  EXPECT_EQ(error.code, absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(error.has_reason());
  EXPECT_EQ(error.reason, "VALUE_OUT_OF_RANGE");
  EXPECT_EQ(error.domain, "dime.v1");
  EXPECT_THAT(error.metadata, ElementsAre(Pair("max", "100")));
  ASSERT_EQ(error.field_violations.size(), 2u);
  EXPECT_EQ(error.field_violations[1].field, "options.top_k");
  EXPECT_EQ(error.field_violations[1].description, "options.top_k is wrong");
  EXPECT_EQ(error.retry_delay, absl::Milliseconds(1500));
  EXPECT_EQ(error.resource_type, "image");
  EXPECT_EQ(error.resource_name, "scene-9");
}

TEST(ClientErrorTest, DamagedOrUnknownDetailsAreLeftOut) {
  const absl::Status damaged =
      StatusFromGrpc(grpc::Status(grpc::StatusCode::INTERNAL, "oops", "\xff\xff\xff garbage"));
  EXPECT_EQ(damaged.message(), "oops");
  EXPECT_FALSE(ClientError::FromStatus(damaged).has_reason());

  google::protobuf::Any unknown;
  unknown.set_type_url("type.googleapis.com/of.the.Future");
  unknown.set_value("\x01\x02");
  google::protobuf::Any broken;
  broken.set_type_url("type.googleapis.com/google.rpc.BadRequest");
  broken.set_value("\xff");
  const ClientError error = ClientError::FromStatus(StatusFromGrpc(
      DetailedStatus(grpc::StatusCode::INTERNAL, "oops", "INTERNAL", {unknown, broken})));
  EXPECT_EQ(error.reason, "INTERNAL");
  EXPECT_TRUE(error.field_violations.empty());
}

TEST(ClientErrorTest, InvalidFieldErrorHasTheServersForm) {
  const ClientError error = ClientError::FromStatus(
      InvalidFieldError("text", "must be valid UTF-8", v1::ERROR_REASON_TEXT_NOT_UTF8));
  EXPECT_EQ(error.code, absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(error.message, "text must be valid UTF-8");
  EXPECT_EQ(error.reason, "TEXT_NOT_UTF8");
  EXPECT_EQ(error.domain, "dime.v1");
  ASSERT_EQ(error.field_violations.size(), 1u);
  EXPECT_EQ(error.field_violations[0].field, "text");
  EXPECT_EQ(error.field_violations[0].description, "must be valid UTF-8");
}

}  // namespace
}  // namespace dime
