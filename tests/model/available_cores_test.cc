#include "model/available_cores.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"

namespace dime {
namespace {

// A control group file system in a directory of the test's own.
class CpuQuotaTest : public ::testing::Test {
 protected:
  CpuQuotaTest() { std::filesystem::remove_all(root_); }
  ~CpuQuotaTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path whole = absl::StrCat(root_, "/", path);
    std::filesystem::create_directories(whole.parent_path());
    std::ofstream(whole) << text;
  }
  // Of a process whose /proc/self/cgroup says `own`.
  double QuotaOf(const std::string& own) {
    Write("own", own);
    return CpuQuota(absl::StrCat(root_, "/mount"), absl::StrCat(root_, "/own"));
  }

 private:
  const std::string root_ =
      absl::StrCat(::testing::TempDir(), "/cpu_quota_test_",
                   ::testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST_F(CpuQuotaTest, OfTheUnifiedHierarchy) {
  Write("mount/pod/server/cpu.max", "250000 100000\n");
  EXPECT_EQ(QuotaOf("0::/pod/server\n"), 2.5);
}

TEST_F(CpuQuotaTest, TheLeastOfTheGroupAndThoseAbove) {
  Write("mount/pod/server/cpu.max", "max 100000\n");
  Write("mount/pod/cpu.max", "300000 100000\n");
  Write("mount/cpu.max", "400000 100000\n");
  EXPECT_EQ(QuotaOf("0::/pod/server\n"), 3);
}

TEST_F(CpuQuotaTest, OfAContainerThatSeesItsGroupAsTheRoot) {
  Write("mount/cpu.max", "50000 100000\n");
  EXPECT_EQ(QuotaOf("0::/\n"), 0.5);
  EXPECT_EQ(QuotaOf("0::/../elsewhere/pod\n"), 0.5);
}

TEST_F(CpuQuotaTest, OfVersion1) {
  Write("mount/cpu/docker/1234/cpu.cfs_quota_us", "150000\n");
  Write("mount/cpu/docker/1234/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(QuotaOf("5:memory:/other\n4:cpu,cpuacct:/docker/1234\n0::/\n"), 1.5);
}

TEST_F(CpuQuotaTest, NoneIsInfinite) {
  EXPECT_TRUE(std::isinf(QuotaOf("")));
  EXPECT_TRUE(std::isinf(QuotaOf("0::/pod\nnonsense\n7:cpu:\n")));
  Write("mount/cpu.max", "max 100000\n");
  Write("mount/cpu/cpu.cfs_quota_us", "-1\n");
  Write("mount/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_TRUE(std::isinf(QuotaOf("4:cpu:/\n0::/\n")));
  EXPECT_TRUE(std::isinf(CpuQuota("/nowhere", "/nowhere/either")));
}

TEST(AvailableCoresTest, IsAtLeastOne) { EXPECT_GE(AvailableCores(), 1); }

}  // namespace
}  // namespace dime
