#include "benchmarks/process_usage.h"

#include <time.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace dime {

namespace {

std::string ProcDirectory(pid_t pid) { return absl::StrCat("/proc/", pid == 0 ? getpid() : pid); }

// Calls visit(name, number) for each line of a status file that has both. False if there is none.
template <typename Visit>
bool VisitStatus(const std::string& path, Visit visit) {
  std::ifstream file(path);
  if (!file) return false;
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string name;
    int64_t number = 0;
    if (fields >> name >> number) visit(name, number);
  }
  return true;
}

}  // namespace

absl::StatusOr<absl::Duration> ProcessCpuTime(pid_t pid) {
  clockid_t clock;
  timespec time{};
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0) {
    return absl::NotFoundError(absl::StrCat("there is no process ", pid));
  }
  return absl::DurationFromTimespec(time);
}

absl::StatusOr<int64_t> ProcessWaits(pid_t pid) {
  int64_t waits = 0;
  std::error_code error;
  const std::string tasks = ProcDirectory(pid) + "/task";
  for (std::filesystem::directory_iterator it(tasks, error), end; !error && it != end;
       it.increment(error)) {
    // A thread that has just ended counts no more.
    VisitStatus(it->path().string() + "/status", [&waits](const std::string& name, int64_t number) {
      if (name == "voluntary_ctxt_switches:") waits += number;
    });
  }
  if (error) return absl::NotFoundError(absl::StrCat("cannot read ", tasks));
  return waits;
}

absl::StatusOr<ProcessMemory> ReadProcessMemory(pid_t pid) {
  const std::string path = ProcDirectory(pid) + "/status";
  ProcessMemory memory;
  const bool read = VisitStatus(path, [&memory](const std::string& name, int64_t kib) {
    if (name == "VmRSS:") memory.resident_bytes = kib * 1024;
    if (name == "RssAnon:") memory.anonymous_bytes = kib * 1024;
    if (name == "RssFile:") memory.file_bytes = kib * 1024;
  });
  if (!read) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  return memory;
}

}  // namespace dime
