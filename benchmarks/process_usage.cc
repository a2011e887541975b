#include "benchmarks/process_usage.h"

#include <time.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace dime {

absl::StatusOr<absl::Duration> ProcessCpuTime(pid_t pid) {
  clockid_t clock;
  timespec time{};
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0) {
    return absl::NotFoundError(absl::StrCat("there is no process ", pid));
  }
  return absl::DurationFromTimespec(time);
}

absl::StatusOr<ProcessMemory> ReadProcessMemory(pid_t pid) {
  const std::string path = absl::StrCat("/proc/", pid == 0 ? getpid() : pid, "/status");
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  ProcessMemory memory;
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string name;
    int64_t kib = 0;
    if (!(fields >> name >> kib)) continue;
    if (name == "VmRSS:") memory.resident_bytes = kib * 1024;
    if (name == "RssAnon:") memory.anonymous_bytes = kib * 1024;
    if (name == "RssFile:") memory.file_bytes = kib * 1024;
  }
  return memory;
}

}  // namespace dime
