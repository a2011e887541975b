#ifndef DIME_BENCHMARKS_PROCESS_USAGE_H_
#define DIME_BENCHMARKS_PROCESS_USAGE_H_

#include <sys/types.h>

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace dime {

// What a process has used and holds, as the kernel counts it. `pid` 0 is the caller's own.

// CPU time of all its threads, those that have ended too. NOT_FOUND if there is no such process.
absl::StatusOr<absl::Duration> ProcessCpuTime(pid_t pid);

// How often its threads, those that there are, gave up a core to wait. NOT_FOUND as above.
absl::StatusOr<int64_t> ProcessWaits(pid_t pid);

struct ProcessMemory {
  int64_t resident_bytes = 0;   // all of it
  int64_t anonymous_bytes = 0;  // of its own: heap, stacks
  int64_t file_bytes = 0;       // pages of mapped files, which the kernel can drop
};
absl::StatusOr<ProcessMemory> ReadProcessMemory(pid_t pid);

}  // namespace dime

#endif  // DIME_BENCHMARKS_PROCESS_USAGE_H_
