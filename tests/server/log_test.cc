#include "server/log.h"

#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace dime {
namespace {

const absl::Time kTime = absl::FromUnixMicros(1767323045678901);  // 2026-01-02

TEST(LogTest, JsonHasTheFieldsThatCollectorsLookFor) {
  const std::string line =
      Log::FormatLine(Log::Format::kJson, kTime, Log::Severity::kWarning, "two\nlines \"quoted\"",
                      {{"request_id", std::string("a b")},
                       {"pairs", int64_t{100}},
                       {"seconds", 0.25},
                       {"degraded", true}});
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const nlohmann::json json = nlohmann::json::parse(line);
  EXPECT_EQ(json["time"], "2026-01-02T03:04:05.678901Z");
  EXPECT_EQ(json["severity"], "WARNING");
  EXPECT_EQ(json["message"], "two\nlines \"quoted\"");
  EXPECT_EQ(json["request_id"], "a b");
  EXPECT_EQ(json["pairs"], 100);
  EXPECT_EQ(json["seconds"], 0.25);
  EXPECT_EQ(json["degraded"], true);
}

TEST(LogTest, JsonSurvivesWhatIsNotUtf8) {
  const std::string line = Log::FormatLine(Log::Format::kJson, kTime, Log::Severity::kInfo, "\xff",
                                           {{"text", std::string("\xc3(")}});
  EXPECT_TRUE(nlohmann::json::accept(line)) << line;
}

TEST(LogTest, TextIsForPeople) {
  EXPECT_EQ(Log::FormatLine(Log::Format::kText, kTime, Log::Severity::kWarning, "late",
                            {{"request_id", std::string("7f")},
                             {"message", std::string("no \"room\"\n")},
                             {"seconds", 1.5},
                             {"pairs", int64_t{3}}}),
            R"(warning: late request_id=7f message="no \"room\"\n" seconds=1.5 pairs=3)");
  EXPECT_EQ(Log::FormatLine(Log::Format::kText, kTime, Log::Severity::kInfo, "ready", {}), "ready");
}

TEST(LogTest, LinesOfSeveralThreadsStayWhole) {
  std::ostringstream stream;
  Log log(Log::Format::kJson, &stream);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&log, t] {
      for (int i = 0; i < 50; ++i) log.Info(absl::StrCat("thread ", t), {{"i", int64_t{i}}});
    });
  }
  for (std::thread& thread : threads) thread.join();
  int lines = 0;
  for (absl::string_view line : absl::StrSplit(stream.str(), '\n', absl::SkipEmpty())) {
    EXPECT_TRUE(nlohmann::json::accept(line)) << line;
    ++lines;
  }
  EXPECT_EQ(lines, 200);
}

}  // namespace
}  // namespace dime
