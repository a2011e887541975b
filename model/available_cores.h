#ifndef DIME_MODEL_AVAILABLE_CORES_H_
#define DIME_MODEL_AVAILABLE_CORES_H_

#include <string>

namespace dime {

// How many cores' worth of time the process gets, rounded up, at least 1: those that it may run on,
// by its affinity, or fewer if its control group has a quota, as a container with a limit on its
// CPU has. More threads than that, all at work, are stopped together for the rest of each period
// once the quota is used up.
int AvailableCores();

// The least quota, in cores, of the process's control group and those above it; infinite if there
// is none, or nothing can be read. Understands the unified hierarchy (cpu.max) and version 1's CPU
// controller (cpu.cfs_quota_us and cpu.cfs_period_us). `mount`: where the hierarchies are mounted,
// "/sys/fs/cgroup"; `own`: the file that tells of the process's groups, "/proc/self/cgroup".
double CpuQuota(const std::string& mount, const std::string& own);

}  // namespace dime

#endif  // DIME_MODEL_AVAILABLE_CORES_H_
