#ifndef DIME_INDEX_COARSE_BASE_FILES_H_
#define DIME_INDEX_COARSE_BASE_FILES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace dime {

// Where a living gallery keeps the bases of one kind of item: DIRECTORY/PREFIX-N.rows and
// PREFIX-N.faiss, with N the write up to which a base goes. There are several for a moment only,
// while a new one takes the old one's place, or after a crash. Immutable, hence thread-safe; that
// nobody else touches the files meanwhile is the caller's to see to.
class CoarseBaseFiles {
 public:
  CoarseBaseFiles(const std::string& directory, const std::string& prefix);

  // What CoarseBase::Save() and Load() take.
  std::string Name(int64_t sequence) const;
  // Of the bases that are there, whole or not, the latest first.
  std::vector<int64_t> Sequences() const;
  // Removes the files of all but this one, as far as that goes.
  void RemoveOthers(int64_t kept) const;
  // Whether a file of a gallery's directory is part of a base of any kind, by its name.
  static bool IsPart(absl::string_view file_name);

 private:
  const std::string directory_;
  const std::string prefix_;  // with its hyphen
};

}  // namespace dime

#endif  // DIME_INDEX_COARSE_BASE_FILES_H_
