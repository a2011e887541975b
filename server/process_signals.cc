#include "server/process_signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace dime {
namespace {

constexpr int kStopSignals[] = {SIGTERM, SIGINT};
constexpr int kSignals[] = {SIGTERM, SIGINT, SIGHUP};

// The one means by which a handler may tell a thread anything: a pipe.
int pipe_ends[2] = {-1, -1};

void OnSignal(int signal_number) {
  const int saved_errno = errno;
  if (signal_number != SIGHUP) {
    for (int other : kStopSignals) signal(other, SIG_DFL);
  }
  const auto byte = static_cast<unsigned char>(signal_number);
  [[maybe_unused]] const ssize_t written = write(pipe_ends[1], &byte, 1);
  errno = saved_errno;
}

}  // namespace

absl::Status InstallSignals() {
  if (pipe_ends[0] < 0 && pipe2(pipe_ends, O_CLOEXEC) != 0) {
    return absl::InternalError(absl::StrCat("cannot make a pipe: ", strerror(errno)));
  }
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (int signal_number : kSignals) {
    if (sigaction(signal_number, &action, nullptr) != 0) {
      return absl::InternalError(absl::StrCat("cannot handle signals: ", strerror(errno)));
    }
  }
  return absl::OkStatus();
}

int AwaitSignal() {
  unsigned char signal_number = 0;
  while (read(pipe_ends[0], &signal_number, 1) < 0 && errno == EINTR) {
  }
  return signal_number;
}

}  // namespace dime
