#ifndef DIME_BENCHMARKS_CHILD_SERVER_H_
#define DIME_BENCHMARKS_CHILD_SERVER_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace dime {

// A server as a process of its own, so that its CPU time and memory are its own too. Start()
// returns once it has written the line that dime_server writes when it is ready; destruction asks
// it to end (SIGTERM) and waits for that. It ends with its parent's thread, come what may.
// Not thread-safe.
class ChildServer {
 public:
  // `command`: the program and its arguments. UNAVAILABLE, with the last line that it wrote, if it
  // ends before it is ready. What it writes to stderr goes to the caller's.
  static absl::StatusOr<std::unique_ptr<ChildServer>> Start(
      const std::vector<std::string>& command);
  ~ChildServer();
  ChildServer(const ChildServer&) = delete;
  ChildServer& operator=(const ChildServer&) = delete;

  pid_t pid() const { return pid_; }
  const std::string& address() const { return address_; }        // of gRPC
  const std::string& ready_line() const { return ready_line_; }  // what it said of itself
  absl::Duration start_time() const { return start_time_; }      // from start to ready

 private:
  ChildServer(pid_t pid, int output) : pid_(pid), output_(output) {}

  const pid_t pid_;
  const int output_;  // the end to read of its stdout
  std::string address_;
  std::string ready_line_;
  absl::Duration start_time_;
};

}  // namespace dime

#endif  // DIME_BENCHMARKS_CHILD_SERVER_H_
