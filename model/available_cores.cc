#include "model/available_cores.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace dime {
namespace {

constexpr double kNoQuota = std::numeric_limits<double>::infinity();

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Times in microseconds. "max" and -1, which stand for no quota, are no positive numbers.
double Quota(absl::string_view quota, absl::string_view period) {
  double q = 0, p = 0;
  const bool numbers = absl::SimpleAtod(quota, &q) && absl::SimpleAtod(period, &p);
  return numbers && std::isfinite(q) && q > 0 && p > 0 ? q / p : kNoQuota;
}

// Of one group alone.
double QuotaOf(const std::string& directory) {
  const std::vector<std::string> unified =
      absl::StrSplit(FirstLine(absl::StrCat(directory, "/cpu.max")), ' ');
  if (unified.size() == 2) return Quota(unified[0], unified[1]);
  return Quota(FirstLine(absl::StrCat(directory, "/cpu.cfs_quota_us")),
               FirstLine(absl::StrCat(directory, "/cpu.cfs_period_us")));
}

// Of a group and those above it. A container may see its own group as the root of what is mounted,
// while its path is told as it is outside: what is not there has no quota, and the root is asked.
double LeastQuota(const std::string& mount, std::string group) {
  double least = QuotaOf(mount);
  for (; group.size() > 1; group.resize(group.rfind('/'))) {
    least = std::min(least, QuotaOf(mount + group));
  }
  return least;
}

}  // namespace

double CpuQuota(const std::string& mount, const std::string& own) {
  double least = kNoQuota;
  std::ifstream file(own);
  // Of each hierarchy "number:controllers:/group"; the unified one has no controllers.
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3 || fields[2].empty() || fields[2][0] != '/') continue;
    if (fields[1].empty()) {
      // Where version 1 has the controllers, the unified hierarchy may lie beside them.
      least = std::min({least, LeastQuota(mount, fields[2]),
                        LeastQuota(absl::StrCat(mount, "/unified"), fields[2])});
      continue;
    }
    const std::vector<std::string> controllers = absl::StrSplit(fields[1], ',');
    if (std::find(controllers.begin(), controllers.end(), "cpu") == controllers.end()) continue;
    for (const std::string& name : {std::string("cpu"), fields[1]}) {
      least = std::min(least, LeastQuota(absl::StrCat(mount, "/", name), fields[2]));
    }
  }
  return least;
}

int AvailableCores() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  const int count = sched_getaffinity(0, sizeof(cores), &cores) == 0
                        ? CPU_COUNT(&cores)
                        : static_cast<int>(std::thread::hardware_concurrency());
  const double quota = std::ceil(CpuQuota("/sys/fs/cgroup", "/proc/self/cgroup"));
  return std::max(1, quota < count ? static_cast<int>(quota) : count);
}

}  // namespace dime
