#include "server/server_config.h"

#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// A program with some of the server's flags.
class ServerConfigTest : public testing::Test {
 protected:
  ServerConfigTest() : path_(testing::TempDir() + "/server_config_test.textproto") {
    app_.add_option("--workers", workers_)->check(CLI::Range(1, 100))->capture_default_str();
    app_.add_option("--audit-rate", rate_)->check(CLI::Range(0.0, 1.0))->capture_default_str();
    app_.add_option("--address", address_)->capture_default_str();
    app_.add_option("--metrics-address", metrics_)->capture_default_str();
    app_.add_option("--max-ingest-bytes", bytes_)->capture_default_str();
    app_.add_flag("--no-reflection", no_reflection_);
  }
  ~ServerConfigTest() override { std::filesystem::remove(path_); }

  absl::Status Apply(const std::string& text, std::vector<std::string> arguments = {}) {
    std::ofstream(path_) << text;
    app_.parse(std::move(arguments));
    return ApplyServerConfig(path_, app_);
  }

  const std::string path_;
  CLI::App app_;
  int workers_ = 7;
  double rate_ = 0.25;
  std::string address_ = "here:1";
  std::string metrics_ = "here:2";
  int64_t bytes_ = 5;
  bool no_reflection_ = false;
};

TEST_F(ServerConfigTest, AFlagWinsOverTheFileAndTheFileOverTheDefault) {
  // CLI11 takes arguments from the back.
  ASSERT_TRUE(Apply("search { workers: 3 }\n"
                    "audit { rate: 0.1 }\n"
                    "listen { metrics_address: '' no_reflection: true }\n"
                    "ingest { max_queued_bytes: 5000000000 }",
                    {"9", "--workers"})
                  .ok());
  EXPECT_EQ(workers_, 9);
  EXPECT_EQ(rate_, 0.1);
  EXPECT_EQ(address_, "here:1");
  EXPECT_EQ(metrics_, "");
  EXPECT_EQ(bytes_, 5'000'000'000);
  EXPECT_TRUE(no_reflection_);
}

TEST_F(ServerConfigTest, TellsWhatTheSettingsAmountTo) {
  ASSERT_TRUE(Apply("search { workers: 3 } listen { metrics_address: '' }").ok());
  const v1::ServerConfig config = EffectiveServerConfig(app_);
  EXPECT_EQ(config.search().workers(), 3);
  EXPECT_EQ(config.audit().rate(), 0.25);
  EXPECT_EQ(config.listen().address(), "here:1");
  EXPECT_TRUE(config.listen().has_metrics_address());
  EXPECT_TRUE(config.listen().has_no_reflection());
  EXPECT_FALSE(config.listen().no_reflection());

  const std::string printed = PrintServerConfig(config);
  ASSERT_TRUE(Apply(printed).ok()) << printed;
  EXPECT_EQ(PrintServerConfig(EffectiveServerConfig(app_)), printed);
}

TEST_F(ServerConfigTest, TellsEveryErrorAtOnce) {
  const absl::Status status = Apply(
      "search { workers: 0 colour: 'red' }\n"
      "audit { rate: 1.5 }\n"
      "  brakes: 4\n");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("4 errors"), HasSubstr(":1:"), HasSubstr("\"colour\""),
                    HasSubstr(":3:"), HasSubstr("\"brakes\""), HasSubstr("search.workers"),
                    HasSubstr("audit.rate"), HasSubstr("1.5")));
}

TEST_F(ServerConfigTest, ErrorsOfSyntaxHaveLineAndColumn) {
  const absl::Status status = Apply("search {\n  workers: many\n}\n");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr(path_ + ":2:12: "));
  EXPECT_FALSE(Apply("search { workers: 3 workers: 4 }").ok());
  EXPECT_FALSE(Apply("search { workers: 3 ").ok());
}

TEST_F(ServerConfigTest, AFileThatIsNotThereIsNotFound) {
  const absl::Status status = ApplyServerConfig(path_ + ".none", app_);
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr(path_ + ".none"));
}

TEST(ServerConfigFieldsTest, EveryFieldHasOneFlag) {
  std::set<std::string> fields;
  std::set<std::string> flags;
  for (const ServerConfigField& row : ServerConfigFields()) {
    EXPECT_TRUE(fields.insert(std::string(row.field)).second) << row.field;
    EXPECT_TRUE(flags.insert(std::string(row.flag)).second) << row.flag;
    EXPECT_THAT(NameOfSetting(row.flag), HasSubstr(std::string(row.field)));
  }
  std::set<std::string> expected;
  const auto* config = v1::ServerConfig::descriptor();
  for (int i = 0; i < config->field_count(); ++i) {
    const auto* group = config->field(i);
    for (int k = 0; k < group->message_type()->field_count(); ++k) {
      const auto* field = group->message_type()->field(k);
      EXPECT_TRUE(field->has_presence()) << field->full_name();
      expected.insert(group->name() + "." + field->name());
    }
  }
  EXPECT_EQ(fields, expected);
}

}  // namespace
}  // namespace dime
