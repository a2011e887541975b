#include "benchmarks/child_server.h"

#include <signal.h>

#include <cerrno>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime {
namespace {

using ::testing::HasSubstr;

TEST(ChildServerTest, ReadsWhereItServesAndEndsIt) {
  pid_t pid = 0;
  {
    const auto server = ChildServer::Start(
        {"/bin/sh", "-c",
         "echo loading; echo 'dime_server 1.2 ready in 0.3 s: gRPC on 127.0.0.1:4711, metrics on "
         "http://x'; exec cat /dev/zero >/dev/null"});
    ASSERT_TRUE(server.ok()) << server.status();
    EXPECT_EQ((*server)->address(), "127.0.0.1:4711");
    EXPECT_THAT((*server)->ready_line(), HasSubstr("1.2 ready in"));
    EXPECT_GT((*server)->start_time(), absl::ZeroDuration());
    pid = (*server)->pid();
    EXPECT_EQ(kill(pid, 0), 0);
  }
  EXPECT_EQ(kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST(ChildServerTest, TellsTheLastWordsOfWhatEndsTooEarly) {
  const auto server = ChildServer::Start({"/bin/sh", "-c", "echo no such model; exit 4"});
  EXPECT_EQ(server.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(server.status().message(), HasSubstr("no such model"));
}

TEST(ChildServerTest, AProgramThatIsNotThereIsAnError) {
  EXPECT_EQ(ChildServer::Start({"/no/such/program"}).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(ChildServer::Start({}).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace dime
