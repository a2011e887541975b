#include "index/thread_priority.h"

#include <sched.h>
#include <sys/resource.h>

namespace dime {

// Linux has a nice value for each thread.
void TakeLowPriority() { setpriority(PRIO_PROCESS, 0, 10); }

void TakeLowestPriority() {
  const sched_param none{};
  // What the kernel may refuse in a sandbox; the second best is always allowed.
  if (sched_setscheduler(0, SCHED_IDLE, &none) != 0) setpriority(PRIO_PROCESS, 0, 19);
}

}  // namespace dime
