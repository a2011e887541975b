// What a living gallery does when it is killed, damaged or kept from writing.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <numeric>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <thread>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "index/store_gallery.h"
#include "tests/index/file_fixtures.h"
#include "tests/index/load_items.h"
#include "tests/index/status_matchers.h"

namespace dime {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::ElementsAreArray;
using testing::HasSubstr;

constexpr auto kImage = Modality::kImage;
// By number: the stamp of the write that the item is of.
using Contents = std::map<int, int>;

// The writer as a process of its own.
class Writer {
 public:
  Writer(const std::string& directory, int stamp, unsigned seed) {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    std::vector<std::string> words = {DIME_STORE_WRITER, directory, absl::StrCat(stamp),
                                      absl::StrCat(seed)};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    EXPECT_EQ(posix_spawn(&process_, argv[0], &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    output_ = fdopen(ends[0], "r");
  }
  ~Writer() {
    Kill();
    fclose(output_);
  }
  // The next line; nothing at the end.
  std::optional<std::string> Line() {
    std::string line;
    for (int c; (c = getc(output_)) != EOF;) {
      if (c == '\n') return line;
      line.push_back(static_cast<char>(c));
    }
    return std::nullopt;
  }
  void Kill() {
    if (process_ == 0) return;
    kill(process_, SIGKILL);
    int status;
    waitpid(process_, &status, 0);
    process_ = 0;
  }

 private:
  pid_t process_ = 0;
  FILE* output_ = nullptr;
};

class StoreFaultsTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto made = StoreGallery::Create(directory_, LoadManifest(), options_);
    ASSERT_THAT(made, IsOk());
  }
  static absl::Status Put(StoreGallery& gallery, int number, int stamp) {
    const std::vector<ImageRecord> records = {LoadRecord(number, stamp)};
    const auto statuses = gallery.UpsertImages(records, LoadFeatures(number, stamp).view(), {});
    return statuses.ok() ? (*statuses)[0] : statuses.status();
  }
  // What the gallery holds, each item held against what was written; searches find the same.
  static void ReadAll(const GalleryView& view, Contents& contents) {
    contents.clear();
    ASSERT_OK_AND_ASSIGN(const std::vector<std::string> ids, view.ListIds(kImage, "", 100'000));
    ASSERT_EQ(static_cast<int64_t>(ids.size()), view.size(kImage));
    std::vector<std::pair<float, int64_t>> expected;
    const std::vector<float> query = UnitVectors(1, 8, 77);
    for (const std::string& id : ids) {
      const int number = std::atoi(id.c_str() + 5);
      ASSERT_OK_AND_ASSIGN(const int64_t row, view.FindRow(kImage, id));
      ASSERT_OK_AND_ASSIGN(const ImageRecord record, view.ReadImage(row));
      ASSERT_EQ(record.id, id);
      const int stamp = record.width;
      EXPECT_EQ(record.uri, LoadRecord(number, stamp).uri);
      EXPECT_EQ(record.payload, LoadRecord(number, stamp).payload);
      ASSERT_OK_AND_ASSIGN(const EncodedItems found, view.ReadFeatures(kImage, {row}));
      const EncodedItems written = LoadFeatures(number, stamp);
      EXPECT_EQ(found.coarse, written.coarse) << id;
      for (int d = 0; d < kNumDirections; ++d) {
        EXPECT_EQ(found.directions[d].local, written.directions[d].local) << id;
        EXPECT_EQ(found.directions[d].global, written.directions[d].global) << id;
      }
      expected.emplace_back(
          -std::inner_product(query.begin(), query.end(), written.coarse.begin(), 0.0f), row);
      contents[number] = stamp;
    }
    std::sort(expected.begin(), expected.end());
    for (const bool exact : {false, true}) {
      ASSERT_OK_AND_ASSIGN(const auto candidates,
                           view.Recall(kImage, query, 1000, {.exact = exact}));
      ASSERT_EQ(candidates.size(), expected.size());
      for (size_t i = 0; i < candidates.size(); ++i)
        EXPECT_EQ(candidates[i].row, expected[i].second);
    }
  }
  void Open(std::unique_ptr<StoreGallery>& gallery) {
    gallery = nullptr;
    auto opened = StoreGallery::Open(directory_, options_);
    ASSERT_THAT(opened, IsOk());
    gallery = *std::move(opened);
  }

  const std::string directory_ = FreshDirectory() + "/living";
  StoreGallery::Options options_{.max_tail = 16, .background_merges = false};
};

TEST_F(StoreFaultsTest, KilledAtAnyMomentNothingAcknowledgedIsLost) {
  constexpr int kRounds = 60;
  std::minstd_rand random(12);
  Contents contents;
  int stamp = 1;
  int64_t calls = 0, unfinished = 0;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<int> pending;  // of the call under way; negative: a removal
    const auto settle = [&](const std::vector<int>& numbers) {
      for (const int number : numbers) {
        if (number > 0) {
          contents[number] = stamp;
        } else {
          contents.erase(-number);
        }
      }
    };
    {
      Writer writer(directory_, stamp, static_cast<unsigned>(random()));
      const int64_t before_kill = 1 + random() % 40;
      int64_t lines = 0;
      bool killed = false;
      while (const std::optional<std::string> line = writer.Line()) {
        std::istringstream words(*line);
        char what;
        words >> what;
        ASSERT_NE(what, 'E') << *line;
        words >> stamp;
        if (what == 'B') {
          pending.clear();
          for (int number; words >> number;) pending.push_back(number);
        } else {
          settle(pending);
          pending.clear();
          ++calls;
        }
        if (++lines == before_kill) {
          // At another moment of what follows each time.
          for (volatile unsigned wait = random() % 200'000; wait > 0;) wait = wait - 1;
          writer.Kill();
          killed = true;
        }
      }
      ASSERT_TRUE(killed);
    }
    std::unique_ptr<StoreGallery> gallery;
    Open(gallery);
    Contents found;
    ReadAll(*gallery->Pin(), found);
    if (HasFatalFailure()) return;
    // Of the call that nobody heard the end of, each item may be there or not.
    std::set<int> open_numbers;
    for (const int number : pending) {
      open_numbers.insert(std::abs(number));
      const auto at = found.find(std::abs(number));
      const bool as_written =
          number > 0 ? at != found.end() && at->second == stamp : at == found.end();
      const auto before = contents.find(std::abs(number));
      const bool as_before = before == contents.end()
                                 ? at == found.end()
                                 : at != found.end() && at->second == before->second;
      EXPECT_TRUE(as_written || as_before) << "round " << round << " item " << number;
    }
    if (!pending.empty()) ++unfinished;
    for (const auto& [number, written] : contents) {
      if (open_numbers.contains(number)) continue;
      ASSERT_TRUE(found.contains(number)) << "round " << round << " lost item " << number;
      EXPECT_EQ(found[number], written) << "round " << round << " item " << number;
    }
    for (const auto& [number, written] : found) {
      EXPECT_TRUE(contents.contains(number) || open_numbers.contains(number))
          << "round " << round << " item " << number << " came back";
    }
    contents = found;
    ++stamp;
  }
  EXPECT_GT(calls, kRounds);
  EXPECT_GT(unfinished, 0) << "no kill came during a call";
}

TEST_F(StoreFaultsTest, ASecondProcessIsRefused) {
  std::unique_ptr<StoreGallery> gallery;
  Open(gallery);
  Writer writer(directory_, 1, 1);
  const std::optional<std::string> line = writer.Line();
  ASSERT_TRUE(line.has_value());
  EXPECT_THAT(*line, AllOf(HasSubstr("FAILED_PRECONDITION"), HasSubstr("open in another process"),
                           HasSubstr(absl::StrCat("process ", getpid()))));
}

// After any one file was damaged: an error, or every answer as it was.
TEST_F(StoreFaultsTest, ADamagedFileIsNeverAWrongAnswer) {
  std::unique_ptr<StoreGallery> gallery;
  Open(gallery);
  Contents contents;
  for (int number = 1; number <= 30; ++number) {
    ASSERT_THAT(Put(*gallery, number, 1), IsOk());
    contents[number] = 1;
  }
  ASSERT_THAT(gallery->MergeNow(), IsOk());
  // A checkpoint flushes, so that some of it lies in tables and some in the log.
  ASSERT_THAT(gallery->CreateSnapshot(directory_ + "-flush"), IsOk());
  for (int number = 20; number <= 36; ++number) {
    ASSERT_THAT(Put(*gallery, number, 2), IsOk());
    contents[number] = 2;
  }
  ASSERT_THAT(gallery->Delete(kImage, {LoadId(5)}), IsOk());
  contents.erase(5);
  gallery = nullptr;

  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory_)) {
    if (entry.is_regular_file()) {
      files.push_back(std::filesystem::relative(entry.path(), directory_).string());
    }
  }
  std::sort(files.begin(), files.end());
  const std::string copy = directory_ + "-copy";
  int refused = 0, repaired = 0, told = 0;
  for (const std::string& file : files) {
    const std::string whole = ReadFile(directory_ + "/" + file);
    std::vector<std::pair<std::string, std::optional<std::string>>> damages = {
        {"removed", std::nullopt}};
    for (const size_t kept :
         {size_t{0}, whole.size() / 2, whole.size() - std::min<size_t>(1, whole.size())}) {
      damages.emplace_back(absl::StrCat("cut to ", kept), whole.substr(0, kept));
    }
    for (size_t place = 0; place < 4 && !whole.empty(); ++place) {
      std::string flipped = whole;
      const size_t at = place * (whole.size() - 1) / 3;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << (place + at) % 8));
      damages.emplace_back(absl::StrCat("bit flipped at ", at), flipped);
    }
    for (const auto& [what, damaged] : damages) {
      SCOPED_TRACE(absl::StrCat(file, " ", what));
      std::filesystem::remove_all(copy);
      std::filesystem::copy(directory_, copy, std::filesystem::copy_options::recursive);
      if (damaged.has_value()) {
        WriteFile(copy + "/" + file, *damaged);
      } else {
        std::filesystem::remove(copy + "/" + file);
      }
      testing::internal::CaptureStderr();
      const auto opened = StoreGallery::Open(copy, options_);
      const std::string warnings = testing::internal::GetCapturedStderr();
      if (!opened.ok()) {
        ++refused;
        EXPECT_THAT(std::string(opened.status().message()), HasSubstr("living")) << opened.status();
        continue;
      }
      const auto view = (*opened)->Pin();
      EXPECT_EQ(view->size(kImage), static_cast<int64_t>(contents.size()));
      bool faultless = true;
      const std::vector<float> query = UnitVectors(1, 8, 77);
      for (const auto& [number, stamp] : contents) {
        const auto row = view->FindRow(kImage, LoadId(number));
        if (!row.ok()) {
          EXPECT_FALSE(absl::IsNotFound(row.status())) << number;
          faultless = false;
          continue;
        }
        const auto record = view->ReadImage(*row);
        if (record.ok()) {
          EXPECT_EQ(record->uri, LoadRecord(number, stamp).uri);
        }
        const auto features = view->ReadFeatures(kImage, {*row});
        if (features.ok()) {
          EXPECT_EQ(features->coarse, LoadFeatures(number, stamp).coarse);
          EXPECT_EQ(features->directions[0].local, LoadFeatures(number, stamp).directions[0].local);
        }
        faultless = faultless && record.ok() && features.ok();
      }
      Contents found;
      if (faultless) {
        ReadAll(*view, found);
        EXPECT_EQ(found, contents);
        ++repaired;
      } else {
        ++told;
      }
    }
  }
  // Each of the outcomes occurs, or nothing was tried.
  EXPECT_GT(refused, 20);
  EXPECT_GT(repaired, 20);
  std::printf("%zu files: %d refused, %d without effect or repaired, %d told at the item\n",
              files.size(), refused, repaired, told);
}

TEST_F(StoreFaultsTest, AFullDiskIsToldAndLosesNothing) {
  // A disk so small that it is full soon; where mounting is not allowed, there is none.
  const std::string disk = FreshDirectory() + "-disk";
  std::filesystem::create_directories(disk);
  if (mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=96m") != 0) GTEST_SKIP() << "cannot mount";
  const absl::Cleanup unmount = [&disk] { umount2(disk.c_str(), MNT_DETACH); };
  const std::string directory = disk + "/living";
  Contents contents;
  {
    ASSERT_OK_AND_ASSIGN(const auto gallery,
                         StoreGallery::Create(directory, LoadManifest(), options_));
    ASSERT_THAT(Put(*gallery, 1, 1), IsOk());
    const size_t left = std::filesystem::space(disk).available;
    WriteFile(disk + "/ballast", std::string(left - (size_t{16} << 20), 'x'));
    EXPECT_THAT(Put(*gallery, 2, 1), StatusIs(absl::StatusCode::kResourceExhausted,
                                              AllOf(HasSubstr("full"), HasSubstr(directory))));
    Contents found;
    ReadAll(*gallery->Pin(), found);
    EXPECT_EQ(found, (Contents{{1, 1}}));
    // Once there is room, writes go on.
    std::filesystem::remove(disk + "/ballast");
    EXPECT_THAT(Put(*gallery, 2, 2), IsOk());
  }
  ASSERT_OK_AND_ASSIGN(const auto gallery, StoreGallery::Open(directory, options_));
  ReadAll(*gallery->Pin(), contents);
  EXPECT_EQ(contents, (Contents{{1, 1}, {2, 2}}));
}

TEST_F(StoreFaultsTest, AFailedWriteStopsWritesAndLosesNothing) {
  std::unique_ptr<StoreGallery> gallery;
  Open(gallery);
  signal(SIGXFSZ, SIG_IGN);  // a file beyond the limit is an error, not the end
  Contents expected;
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  rlimit small = before;
  small.rlim_cur = 20'000;
  absl::Status failed;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  for (int stamp = 1; stamp < 1000 && failed.ok(); ++stamp) {
    const int number = 1 + stamp % 40;
    failed = Put(*gallery, number, stamp);
    if (failed.ok()) expected[number] = stamp;
  }
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_FALSE(failed.ok());
  EXPECT_THAT(std::string(failed.message()), HasSubstr("store"));
  // No further writes, for nobody knows what the disk took; searches go on.
  EXPECT_THAT(Put(*gallery, 1, 5000),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("open the gallery again")));
  Contents found;
  ReadAll(*gallery->Pin(), found);
  EXPECT_EQ(found, expected);
  Open(gallery);
  ReadAll(*gallery->Pin(), found);
  EXPECT_EQ(found, expected);
  EXPECT_THAT(Put(*gallery, 1, 5001), IsOk());
}

TEST_F(StoreFaultsTest, ADirectoryThatCannotBeWrittenToIsRefused) {
  if (geteuid() == 0) {
    // Root may write anywhere, so somebody else tries.
    ASSERT_EQ(seteuid(65534), 0);
    const auto opened = StoreGallery::Open(directory_, options_);
    ASSERT_EQ(seteuid(0), 0);
    EXPECT_THAT(opened, StatusIs(absl::StatusCode::kPermissionDenied,
                                 AllOf(HasSubstr("LOCK"), HasSubstr("may write to"))));
  } else {
    std::filesystem::remove(directory_ + "/LOCK");
    ASSERT_EQ(chmod(directory_.c_str(), 0555), 0);
    EXPECT_THAT(StoreGallery::Open(directory_, options_),
                StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("may write to")));
    chmod(directory_.c_str(), 0755);
  }
}

TEST_F(StoreFaultsTest, SnapshotsUnderLoadAreWhole) {
  options_.background_merges = true;
  std::unique_ptr<StoreGallery> gallery;
  Open(gallery);
  std::atomic<bool> stop{false};
  std::atomic<int> acknowledged{0};
  std::thread writer([&] {
    for (int stamp = 1; !stop; ++stamp) {
      ASSERT_THAT(Put(*gallery, 1 + stamp % 40, stamp), IsOk());
      acknowledged = stamp;
    }
  });
  for (int n = 0; n < 5; ++n) {
    while (acknowledged < 60 * (n + 1)) std::this_thread::yield();
    const int before = acknowledged;
    const std::string snapshot = absl::StrCat(directory_, "-", n);
    ASSERT_THAT(gallery->CreateSnapshot(snapshot), IsOk());
    const int after = acknowledged + 1;  // one may be on its way
    const std::string elsewhere = snapshot + "-moved";
    std::filesystem::rename(snapshot, elsewhere);
    ASSERT_OK_AND_ASSIGN(const auto restored, StoreGallery::Open(elsewhere, options_));
    Contents found;
    ReadAll(*restored->Pin(), found);
    ASSERT_EQ(found.size(), 40u);
    for (const auto& [number, stamp] : found) {
      EXPECT_GT(stamp, before - 40) << number;  // written again every 40 stamps
      EXPECT_LE(stamp, after);
    }
  }
  stop = true;
  writer.join();
}

}  // namespace
}  // namespace dime
