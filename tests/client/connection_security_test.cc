#include "client/connection_security.h"

#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string WriteFile(const std::string& content) {
  const std::string path = testing::TempDir() + "/connection_security_test.txt";
  std::ofstream(path) << content;
  return path;
}

TEST(ConnectionSecurityTest, WithoutFilesThereIsNoTls) {
  const auto plain = MakeChannelCredentials({});
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(*plain, nullptr);
  const auto tls = MakeChannelCredentials({.ca = WriteFile("some authority")});
  ASSERT_TRUE(tls.ok());
  EXPECT_NE(*tls, nullptr);
}

TEST(ConnectionSecurityTest, NamesTheFileThatCannotBeRead) {
  const absl::Status status = MakeChannelCredentials({.ca = "/none/ca.pem"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/none/ca.pem"));
  EXPECT_FALSE(MakeChannelCredentials({.certificate = WriteFile("x")}).ok());
  EXPECT_FALSE(MakeChannelCredentials({.key = WriteFile("x")}).ok());
}

TEST(ConnectionSecurityTest, ATokenIsOneWord) {
  EXPECT_EQ(ReadToken(WriteFile("  abc-123\r\n")).value(), "abc-123");
  EXPECT_FALSE(ReadToken(WriteFile(" \n")).ok());
  EXPECT_FALSE(ReadToken(WriteFile("")).ok());
  EXPECT_FALSE(ReadToken("/none/token").ok());
  const absl::Status status = ReadToken(WriteFile("secret one")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("secret")));
}

TEST(ConnectionSecurityTest, KnowsThisMachine) {
  for (const char* here : {"127.0.0.1:8980", "localhost:1", "[::1]:1", "unix:/run/dime.sock",
                           "dns:///localhost:1", "ipv4:127.0.0.1:1", "ipv6:[::1]:1"}) {
    EXPECT_TRUE(IsLoopbackTarget(here)) << here;
  }
  for (const char* elsewhere : {"10.0.0.1:1", "localhost.example:1", "ipv4:127.0.0.1:1,10.0.0.1:1",
                                "dns:///gallery:1", "xds:localhost:1"}) {
    EXPECT_FALSE(IsLoopbackTarget(elsewhere)) << elsewhere;
  }
}

}  // namespace
}  // namespace dime
