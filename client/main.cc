// The program `dime`: searches a gallery from the command line. All that it does is in cli.h.

#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <clocale>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "client/cli.h"
#include "client/exit_code.h"

namespace {

std::string EnvironmentVariable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

dime::Terminal StandardOutput() {
  dime::Terminal terminal;
  terminal.unicode = absl::string_view(nl_langinfo(CODESET)) == "UTF-8";
  if (isatty(STDOUT_FILENO) == 0) return terminal;
  winsize size;
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    terminal.width = size.ws_col;
  } else if (!absl::SimpleAtoi(EnvironmentVariable("COLUMNS"), &terminal.width)) {
    terminal.width = 80;
  }
  terminal.color = EnvironmentVariable("NO_COLOR").empty() && EnvironmentVariable("TERM") != "dumb";
  return terminal;
}

}  // namespace

int main(int argc, char** argv) {
  std::setlocale(LC_CTYPE, "");
  // Failures are reported once, by cli.cc; gRPC's own log of them is for whoever asks for it.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  const int exit_code =
      dime::RunCli({argv + 1, argv + argc}, StandardOutput(), std::cout, std::cerr);
  std::cout.flush();
  if (!std::cout) {
    std::cerr << "error: cannot write the output\n";
    return static_cast<int>(dime::ExitCode::kInternal);
  }
  return exit_code;
}
