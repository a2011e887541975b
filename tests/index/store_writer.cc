// Writes to a living gallery without end, for tests that kill it: store_writer DIRECTORY
// FIRST_STAMP SEED. Tells on its standard output of each call before it ("B STAMP NUMBER..." with a
// minus sign for a removal, all numbers from 1) and after it ("A STAMP"), or of an error ("E
// TEXT"), which ends it.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "index/store_gallery.h"
#include "tests/index/load_items.h"

namespace dime {
namespace {

constexpr int kNumbers = 40;

void Tell(const std::string& line) {
  const std::string whole = line + "\n";
  if (write(STDOUT_FILENO, whole.data(), whole.size()) < 0) std::exit(2);
}

int Fail(const absl::Status& status) {
  Tell(absl::StrCat("E ", status.ToString()));
  return 1;
}

int Run(const std::string& directory, int stamp, unsigned seed) {
  StoreGallery::Options options;
  options.max_tail = 16;  // so that merges are among what is interrupted
  auto gallery = StoreGallery::Open(directory, options);
  if (!gallery.ok()) return Fail(gallery.status());
  std::minstd_rand random(seed);
  for (;; ++stamp) {
    std::set<int> numbers;
    const size_t count = 1 + random() % 5;
    while (numbers.size() < count) numbers.insert(1 + static_cast<int>(random() % kNumbers));
    const bool removal = random() % 4 == 0;
    std::string line = absl::StrCat("B ", stamp);
    for (const int number : numbers) absl::StrAppend(&line, removal ? " -" : " ", number);
    Tell(line);
    absl::Status status;
    if (removal) {
      std::vector<std::string> ids;
      for (const int number : numbers) ids.push_back(LoadId(number));
      status = (*gallery)->Delete(Modality::kImage, ids).status();
    } else {
      std::vector<ImageRecord> records;
      EncodedItems all = CopyItems(LoadFeatures(1, 1).view(), {});
      for (const int number : numbers) {
        records.push_back(LoadRecord(number, stamp));
        const EncodedItems item = LoadFeatures(number, stamp);
        const auto append = [](const auto& from, auto& to) {
          to.insert(to.end(), from.begin(), from.end());
        };
        append(item.lengths, all.lengths);
        append(item.coarse, all.coarse);
        for (int d = 0; d < kNumDirections; ++d) {
          append(item.directions[d].local, all.directions[d].local);
          append(item.directions[d].global, all.directions[d].global);
        }
        ++all.count;
      }
      const auto statuses = (*gallery)->UpsertImages(records, all.view(), {});
      status = statuses.status();
      if (statuses.ok()) {
        for (const absl::Status& one : *statuses) status.Update(one);
      }
    }
    if (!status.ok()) return Fail(status);
    Tell(absl::StrCat("A ", stamp));
  }
}

}  // namespace
}  // namespace dime

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  return dime::Run(argv[1], std::atoi(argv[2]), static_cast<unsigned>(std::atoi(argv[3])));
}
