#include "client/upsert_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "index/durable_file.h"
#include "index/mapped_file.h"
#include "index/status_macros.h"
#include "nlohmann/json.hpp"

namespace dime {
namespace {

using nlohmann::json;

constexpr char kFormat[] = "dime-upsert-journal-1";

json ToJson(const UpsertJournal::Subject& subject) {
  return {{"format", kFormat},
          {"kind", subject.kind},
          {"input", subject.input},
          {"state", subject.state},
          {"gallery", subject.gallery}};
}

std::string Shown(const json& value) { return value.is_string() ? value.get<std::string>() : "?"; }

absl::Status CheckHeader(const std::string& path, absl::string_view line,
                         const UpsertJournal::Subject& subject) {
  const json header = json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
  if (!header.is_object() || header.value("format", json()) != kFormat) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is no journal of an upsert"));
  }
  const json wanted = ToJson(subject);
  for (const char* field : {"kind", "input", "state", "gallery"}) {
    const json found = header.value(field, json());
    if (found == wanted[field]) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        path, " is the journal of another upsert: its ", field, " is ", Shown(found), ", not ",
        Shown(wanted[field]), "; remove it to begin anew, or name another with --journal"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> UpsertJournal::StateOf(const std::vector<std::string>& paths) {
  std::string state;
  for (const std::string& path : paths) {
    struct stat found;
    if (stat(path.c_str(), &found) != 0) return FileError(errno, "cannot look at", path);
    absl::StrAppend(&state, state.empty() ? "" : " ", found.st_size, "@", found.st_mtim.tv_sec, ".",
                    found.st_mtim.tv_nsec);
  }
  return state;
}

absl::StatusOr<std::unique_ptr<UpsertJournal>> UpsertJournal::Open(const std::string& path,
                                                                   const Subject& subject,
                                                                   int64_t size) {
  const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor < 0) return FileError(errno, "cannot open", path);
  std::unique_ptr<UpsertJournal> journal(new UpsertJournal(path, descriptor, size));

  std::string content;
  char buffer[1 << 16];
  for (ssize_t n; (n = read(descriptor, buffer, sizeof buffer)) != 0;) {
    if (n < 0) return FileError(errno, "cannot read", path);
    content.append(buffer, static_cast<size_t>(n));
  }
  // A line without its end was being written when the program was killed: it does not count.
  const size_t whole = content.rfind('\n') == std::string::npos ? 0 : content.rfind('\n') + 1;
  if (whole < content.size() && ftruncate(descriptor, static_cast<off_t>(whole)) != 0) {
    return FileError(errno, "cannot shorten", path);
  }
  content.resize(whole);
  if (content.empty()) {
    RETURN_IF_ERROR(
        WriteFully(descriptor, AsBytes(absl::StrCat(ToJson(subject).dump(), "\n")), path));
    return journal;
  }
  absl::string_view rest = content;
  bool header = true;
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    const absl::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    if (header) {
      RETURN_IF_ERROR(CheckHeader(path, line, subject));
      header = false;
      continue;
    }
    int64_t item;
    if (!absl::SimpleAtoi(line, &item) || item < 0 || item >= size) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": \"", line, "\" is the number of no item; remove it to begin anew"));
    }
    journal->done_count_ += !journal->done_[item];
    journal->done_[item] = true;
  }
  return journal;
}

UpsertJournal::~UpsertJournal() { close(descriptor_); }

absl::Status UpsertJournal::MarkDone(int64_t item) {
  if (done_[item]) return absl::OkStatus();
  done_[item] = true;
  ++done_count_;
  return WriteFully(descriptor_, AsBytes(absl::StrCat(item, "\n")), path_);
}

absl::Status UpsertJournal::Remove() {
  if (unlink(path_.c_str()) != 0) return FileError(errno, "cannot remove", path_);
  return absl::OkStatus();
}

}  // namespace dime
