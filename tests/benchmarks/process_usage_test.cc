#include "benchmarks/process_usage.h"

#include <poll.h>
#include <unistd.h>

#include <cstdint>
#include <vector>

#include "gtest/gtest.h"

namespace dime {
namespace {

TEST(ProcessUsageTest, CpuTimeGrowsWithWork) {
  const auto before = ProcessCpuTime(0);
  ASSERT_TRUE(before.ok()) << before.status();
  volatile uint64_t sum = 0;
  for (uint64_t i = 0; i < 5'000'000; ++i) sum = sum + i;
  const auto after = ProcessCpuTime(getpid());
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_GT(*after, *before);
}

TEST(ProcessUsageTest, MemoryGrowsWithWhatIsWritten) {
  const auto before = ReadProcessMemory(0);
  ASSERT_TRUE(before.ok()) << before.status();
  const std::vector<char> block(64 << 20, 1);
  const auto after = ReadProcessMemory(getpid());
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_GE(after->anonymous_bytes - before->anonymous_bytes, 60 << 20);
  EXPECT_GE(after->resident_bytes, after->anonymous_bytes);
  EXPECT_EQ(block.back(), 1);
}

TEST(ProcessUsageTest, WaitsAreCounted) {
  const auto before = ProcessWaits(0);
  ASSERT_TRUE(before.ok()) << before.status();
  for (int i = 0; i < 3; ++i) poll(nullptr, 0, /*timeout=*/1);  // for what never comes
  const auto after = ProcessWaits(getpid());
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_GE(*after - *before, 3);
}

TEST(ProcessUsageTest, NoProcessIsAnError) {
  const pid_t none = (1 << 22) + 1;  // beyond what the kernel gives
  EXPECT_EQ(ProcessCpuTime(none).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ProcessWaits(none).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadProcessMemory(none).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace dime
