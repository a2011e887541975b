#ifndef DIME_CLIENT_UPSERT_JOURNAL_H_
#define DIME_CLIENT_UPSERT_JOURNAL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace dime {

// Which items of an input a server has acknowledged, in a small file, so that after an interruption
// the rest can be sent alone. The first line says which input and which gallery it is about; each
// further one is an item's number. What was not written when the program was killed is sent once
// more, which does no harm.
// Not thread-safe.
class UpsertJournal {
 public:
  // What a journal is about. Two of one input and gallery are equal.
  struct Subject {
    std::string kind;     // "images" or "captions"
    std::string input;    // the path, as given
    std::string state;    // of the input: changes when it is written to
    std::string gallery;  // its lineage

    bool operator==(const Subject& other) const = default;
  };
  // The size and the time of the last change of the files at `paths`.
  static absl::StatusOr<std::string> StateOf(const std::vector<std::string>& paths);

  // Opens the journal at `path`, or begins one. FAILED_PRECONDITION if it is about another input or
  // gallery, saying what to do; INVALID_ARGUMENT if it is no journal.
  static absl::StatusOr<std::unique_ptr<UpsertJournal>> Open(const std::string& path,
                                                             const Subject& subject, int64_t size);
  ~UpsertJournal();
  UpsertJournal(const UpsertJournal&) = delete;
  UpsertJournal& operator=(const UpsertJournal&) = delete;

  bool IsDone(int64_t item) const { return done_[item]; }
  int64_t done_count() const { return done_count_; }
  absl::Status MarkDone(int64_t item);
  // There is nothing left to do: the file goes.
  absl::Status Remove();
  const std::string& path() const { return path_; }

 private:
  UpsertJournal(std::string path, int descriptor, int64_t size)
      : path_(std::move(path)), descriptor_(descriptor), done_(size) {}

  const std::string path_;
  const int descriptor_;
  std::vector<bool> done_;
  int64_t done_count_ = 0;
};

}  // namespace dime

#endif  // DIME_CLIENT_UPSERT_JOURNAL_H_
