#include "index/coarse_base_files.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "index/coarse_segment.h"

namespace dime {
namespace {

// The names of a directory's files.
std::vector<std::string> FilesIn(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  std::filesystem::directory_iterator entries(directory, error);
  for (; !error && entries != std::filesystem::directory_iterator(); entries.increment(error)) {
    names.push_back(entries->path().filename().string());
  }
  return names;
}

}  // namespace

CoarseBaseFiles::CoarseBaseFiles(const std::string& directory, const std::string& prefix)
    : directory_(directory), prefix_(absl::StrCat(prefix, "-")) {}

std::string CoarseBaseFiles::Name(int64_t sequence) const {
  return absl::StrCat(directory_, "/", prefix_, sequence);
}

std::vector<int64_t> CoarseBaseFiles::Sequences() const {
  std::vector<int64_t> sequences;
  for (const std::string& file : FilesIn(directory_)) {
    absl::string_view number = file;
    int64_t sequence = 0;
    if (absl::ConsumePrefix(&number, prefix_) &&
        absl::ConsumeSuffix(&number, CoarseBase::RowsPath("")) &&
        absl::SimpleAtoi(number, &sequence)) {
      sequences.push_back(sequence);
    }
  }
  std::sort(sequences.begin(), sequences.end(), std::greater<>());
  return sequences;
}

void CoarseBaseFiles::RemoveOthers(int64_t kept) const {
  const std::string name = Name(kept);
  for (const std::string& file : FilesIn(directory_)) {
    const std::string path = absl::StrCat(directory_, "/", file);
    if (!absl::StartsWith(file, prefix_) || path == CoarseBase::RowsPath(name) ||
        path == CoarseBase::IndexPath(name)) {
      continue;
    }
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
}

bool CoarseBaseFiles::IsPart(absl::string_view file_name) {
  return absl::EndsWith(file_name, CoarseBase::RowsPath("")) ||
         absl::EndsWith(file_name, CoarseBase::IndexPath(""));
}

}  // namespace dime
