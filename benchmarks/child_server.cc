#include "benchmarks/child_server.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace dime {
namespace {

constexpr std::string_view kAddressFollows = ": gRPC on ";

// A line of the pipe without its end; absent at the end.
std::optional<std::string> ReadLine(int pipe) {
  std::string line;
  char byte;
  while (true) {
    const ssize_t got = read(pipe, &byte, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return line.empty() ? std::nullopt : std::optional<std::string>(line);
    if (byte == '\n') return line;
    line.push_back(byte);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<ChildServer>> ChildServer::Start(
    const std::vector<std::string>& command) {
  if (command.empty()) return absl::InvalidArgumentError("no command to start");
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return absl::UnavailableError(absl::StrCat("cannot make a pipe: ", std::strerror(errno)));
  }
  std::vector<char*> arguments;
  for (const std::string& argument : command) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  const absl::Time start = absl::Now();
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) {
    const int error = errno;
    close(ends[0]);
    close(ends[1]);
    return absl::UnavailableError(absl::StrCat("cannot fork: ", std::strerror(error)));
  }
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(1);  // it went before the request to be told
    dup2(ends[1], STDOUT_FILENO);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  close(ends[1]);
  std::unique_ptr<ChildServer> server(new ChildServer(pid, ends[0]));
  std::string last;
  while (const std::optional<std::string> line = ReadLine(ends[0])) {
    last = *line;
    const size_t at = line->find(kAddressFollows);
    if (at == std::string::npos) continue;
    const std::string rest = line->substr(at + kAddressFollows.size());
    server->address_ = rest.substr(0, rest.find_first_of(",; "));
    server->ready_line_ = *line;
    server->start_time_ = absl::Now() - start;
    return server;
  }
  std::string message = absl::StrCat(command[0], " ended before it was ready");
  if (!last.empty()) absl::StrAppend(&message, "; it wrote: ", last);
  return absl::UnavailableError(message);
}

ChildServer::~ChildServer() {
  kill(pid_, SIGTERM);
  // What it writes on its way must not fill the pipe.
  while (ReadLine(output_).has_value()) {
  }
  close(output_);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace dime
