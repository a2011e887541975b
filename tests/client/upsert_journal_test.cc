#include "client/upsert_journal.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class UpsertJournalTest : public ::testing::Test {
 protected:
  UpsertJournalTest() { std::filesystem::remove(path_); }
  ~UpsertJournalTest() override { std::filesystem::remove(path_); }

  absl::StatusOr<std::unique_ptr<UpsertJournal>> Open() {
    return UpsertJournal::Open(path_, subject_, 10);
  }
  void Append(const std::string& text) { std::ofstream(path_, std::ios::app) << text; }

  const std::string path_ = absl::StrCat(testing::TempDir(), "/journal-", getpid());
  UpsertJournal::Subject subject_ = {
      .kind = "images", .input = "a.tsv", .state = "5@6.7", .gallery = "lineage"};
};

TEST_F(UpsertJournalTest, RemembersWhatIsDone) {
  {
    auto journal = Open();
    ASSERT_TRUE(journal.ok()) << journal.status();
    EXPECT_EQ((*journal)->done_count(), 0);
    for (const int item : {3, 0, 9, 3}) EXPECT_TRUE((*journal)->MarkDone(item).ok());
    EXPECT_EQ((*journal)->done_count(), 3);
  }
  auto journal = Open();
  ASSERT_TRUE(journal.ok()) << journal.status();
  EXPECT_EQ((*journal)->done_count(), 3);
  for (int item = 0; item < 10; ++item) {
    EXPECT_EQ((*journal)->IsDone(item), item == 0 || item == 3 || item == 9);
  }
  EXPECT_TRUE((*journal)->Remove().ok());
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(UpsertJournalTest, ALineThatWasNotFinishedDoesNotCount) {
  EXPECT_TRUE((*Open())->MarkDone(1).ok());
  Append("7");
  {
    auto journal = Open();
    ASSERT_TRUE(journal.ok()) << journal.status();
    EXPECT_FALSE((*journal)->IsDone(7));
    EXPECT_TRUE((*journal)->MarkDone(5).ok());
  }
  auto journal = Open();
  ASSERT_TRUE(journal.ok()) << journal.status();
  EXPECT_EQ((*journal)->done_count(), 2);
  EXPECT_TRUE((*journal)->IsDone(5));
}

TEST_F(UpsertJournalTest, OfAnotherInputOrGalleryItIsRefused) {
  ASSERT_TRUE(Open().ok());
  const UpsertJournal::Subject subject = subject_;
  subject_.gallery = "other";
  const absl::Status gallery = Open().status();
  EXPECT_EQ(gallery.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(gallery.message()),
              AllOf(HasSubstr(path_), HasSubstr("its gallery is lineage, not other"),
                    HasSubstr("remove it")));
  subject_ = subject;
  subject_.state = "changed";
  EXPECT_EQ(Open().status().code(), absl::StatusCode::kFailedPrecondition);
  subject_ = subject;
  EXPECT_TRUE(Open().ok());
}

TEST_F(UpsertJournalTest, WhatIsNoJournalStaysAsItIs) {
  Append("my notes\n");
  EXPECT_EQ(Open().status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::filesystem::file_size(path_), 9u);
  std::filesystem::remove(path_);
  ASSERT_TRUE(Open().ok());
  Append("10\n");
  EXPECT_THAT(std::string(Open().status().message()), HasSubstr("\"10\" is the number of no item"));
}

TEST_F(UpsertJournalTest, TheInputsStateChangesWithIt) {
  const std::string first = *(Append("a"), UpsertJournal::StateOf({path_}));
  EXPECT_EQ(*UpsertJournal::StateOf({path_}), first);
  Append("b");
  EXPECT_NE(*UpsertJournal::StateOf({path_}), first);
  EXPECT_EQ(UpsertJournal::StateOf({path_ + "-not"}).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace dime
