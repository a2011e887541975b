#include "index/build_info.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime {
namespace {

TEST(BuildInfoTest, TellsWhatWasBuiltOutOfWhat) {
  EXPECT_THAT(std::string(BuildVersion()), testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
  EXPECT_THAT(VersionText("dime_server"),
              testing::MatchesRegex("dime_server [0-9.]+\n"
                                    "commit ([0-9a-f]{12}(-dirty)?|unknown)\n"
                                    "build [A-Za-z]+ by [A-Za-z]+ [0-9.]+ for [a-z0-9_]+.*\n"
                                    "libraries .*gRPC [0-9.]+, protobuf [0-9.]+.*"));
}

}  // namespace
}  // namespace dime
