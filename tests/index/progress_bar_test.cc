#include "index/progress_bar.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

// A log file to show progress in.
class ProgressBarTest : public ::testing::Test {
 protected:
  ~ProgressBarTest() override { std::fclose(file_); }

  std::vector<std::string> Lines() {
    std::rewind(file_);
    std::string text;
    for (int c; (c = std::fgetc(file_)) != EOF;) text += static_cast<char>(c);
    return absl::StrSplit(text, '\n', absl::SkipEmpty());
  }

  std::FILE* const file_ = std::tmpfile();
};

TEST_F(ProgressBarTest, WritesALineForEachTenthOfTheTaskToALog) {
  ProgressBar bar("encoding", 1000, file_);
  for (int i = 0; i < 1000; ++i) bar.Advance();
  bar.Finish();
  const std::vector<std::string> lines = Lines();
  ASSERT_THAT(lines, SizeIs(11));
  EXPECT_THAT(lines[0], StartsWith("encoding   0%  0/1000"));
  EXPECT_THAT(lines[5], StartsWith("encoding  50%  500/1000"));
  EXPECT_THAT(lines[5], HasSubstr("ETA"));
  EXPECT_THAT(lines[10], StartsWith("encoding 100%  1000/1000"));
  EXPECT_THAT(lines[10], HasSubstr("  in "));
}

TEST_F(ProgressBarTest, LargeStepsSkipLines) {
  ProgressBar bar("encoding", 10, file_);
  bar.SetNote("loss 0.5");
  bar.Advance(7);
  bar.Advance(7);
  bar.Finish();
  bar.Finish();
  const std::vector<std::string> lines = Lines();
  ASSERT_THAT(lines, SizeIs(3));
  EXPECT_THAT(lines[1], StartsWith("encoding  70%  7/10"));
  EXPECT_THAT(lines[1], HasSubstr("loss 0.5"));
  EXPECT_THAT(lines[2], StartsWith("encoding 100%  10/10"));
}

TEST_F(ProgressBarTest, NeverGoesBack) {
  ProgressBar bar("reading", 100, file_);
  bar.AdvanceTo(60);
  bar.AdvanceTo(20);
  bar.Finish();
  EXPECT_THAT(Lines().back(), StartsWith("reading  60%  60/100"));
}

TEST_F(ProgressBarTest, NothingToDoIsDone) {
  ProgressBar bar("reading", 0, file_);
  bar.Finish();
  EXPECT_THAT(Lines(), ElementsAre(StartsWith("reading   0%"), StartsWith("reading 100%  0/0")));
}

TEST(ProgressBarTerminalTest, RedrawsOneLine) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
  if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0) {
    GTEST_SKIP() << "this machine has no pseudo-terminals";
  }
  std::FILE* const out = fopen(ptsname(terminal), "w");
  ASSERT_NE(out, nullptr);
  {
    ProgressBar bar("encoding", 4, out);
    bar.Advance(4);
    bar.Finish();
  }
  // What was written arrives by and by, each line's redrawing on its own.
  std::string text;
  char buffer[4096];
  pollfd readable = {.fd = terminal, .events = POLLIN, .revents = 0};
  while (!absl::StrContains(text, '\n') && poll(&readable, 1, /*timeout=*/30'000) == 1) {
    const ssize_t bytes = read(terminal, buffer, sizeof buffer);
    ASSERT_GT(bytes, 0);
    text.append(buffer, bytes);
  }
  EXPECT_THAT(text, StartsWith("\rencoding [>"));
  EXPECT_THAT(text, HasSubstr("\rencoding [========================] 100%  4/4"));
  EXPECT_THAT(text.substr(0, text.rfind('\r') - 1), Not(HasSubstr("\n")));
  std::fclose(out);
  close(terminal);
}

}  // namespace
}  // namespace dime
