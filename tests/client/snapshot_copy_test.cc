#include "client/snapshot_copy.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime {
namespace {

namespace fs = std::filesystem;

using testing::HasSubstr;

class SnapshotCopyTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(root_);
    fs::create_directories(snapshot_ / "store" / "empty");
    Write(snapshot_ / "living_gallery.json", "{}");
    Write(snapshot_ / "store" / "000001.sst", std::string(3 << 20, 'x'));
  }
  static void Write(const fs::path& path, const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
  }
  static std::string Read(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  const fs::path root_ =
      fs::path(testing::TempDir()) / testing::UnitTest::GetInstance()->current_test_info()->name();
  const fs::path snapshot_ = root_ / "snapshot";
  const fs::path target_ = root_ / "target";
};

TEST_F(SnapshotCopyTest, CopiesAllOfItAndTellsHowFarItIs) {
  int64_t seen = 0, total = 0;
  const auto copy =
      CopySnapshot(snapshot_.string(), target_.string() + "/", [&](int64_t bytes, int64_t of) {
        seen += bytes;
        total = of;
      });
  ASSERT_TRUE(copy.ok()) << copy.status();
  EXPECT_EQ(copy->files, 2);
  EXPECT_EQ(copy->bytes, (3 << 20) + 2);
  EXPECT_EQ(seen, copy->bytes);
  EXPECT_EQ(total, copy->bytes);
  EXPECT_EQ(Read(target_ / "store" / "000001.sst"), Read(snapshot_ / "store" / "000001.sst"));
  EXPECT_TRUE(fs::is_directory(target_ / "store" / "empty"));
  EXPECT_FALSE(fs::exists(target_.string() + ".part"));
  // Files of its own: what is written to the one is not seen in the other.
  Write(target_ / "living_gallery.json", "changed");
  EXPECT_EQ(Read(snapshot_ / "living_gallery.json"), "{}");
}

TEST_F(SnapshotCopyTest, AnInterruptedCopyIsStartedAnew) {
  fs::create_directories(target_.string() + ".part");
  Write(target_.string() + ".part/stale", "of before");
  fs::create_directories(target_);  // empty: may be taken
  ASSERT_TRUE(CopySnapshot(snapshot_.string(), target_.string()).ok());
  EXPECT_FALSE(fs::exists(target_ / "stale"));
  EXPECT_TRUE(fs::exists(target_ / "living_gallery.json"));
}

TEST_F(SnapshotCopyTest, NothingIsOverwritten) {
  fs::create_directories(target_);
  Write(target_ / "mine", "keep");
  const auto copy = CopySnapshot(snapshot_.string(), target_.string());
  EXPECT_EQ(copy.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(copy.status().message()), HasSubstr(target_.string()));
  EXPECT_EQ(Read(target_ / "mine"), "keep");
}

TEST_F(SnapshotCopyTest, WhatIsNoSnapshotIsRefused) {
  EXPECT_EQ(CopySnapshot((root_ / "absent").string(), target_.string()).status().code(),
            absl::StatusCode::kNotFound);
  fs::remove(snapshot_ / "living_gallery.json");
  EXPECT_EQ(CopySnapshot(snapshot_.string(), target_.string()).status().code(),
            absl::StatusCode::kInvalidArgument);
  Write(snapshot_ / "gallery.json", "{}");
  fs::create_symlink("/nowhere", snapshot_ / "link");
  EXPECT_EQ(CopySnapshot(snapshot_.string(), target_.string()).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(fs::exists(target_));
  EXPECT_FALSE(fs::exists(target_.string() + ".part"));
}

}  // namespace
}  // namespace dime
