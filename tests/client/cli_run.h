#ifndef DIME_TESTS_CLIENT_CLI_RUN_H_
#define DIME_TESTS_CLIENT_CLI_RUN_H_

#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "client/cli.h"

namespace dime {

// What a command line did.
struct CliOutcome {
  int exit_code;
  std::string out;
  std::string err;
};

// Runs `dime ARGUMENTS...` in this process.
inline CliOutcome RunDime(std::vector<std::string> arguments, const Terminal& terminal = {}) {
  std::ostringstream out, err;
  const int exit_code = RunCli(std::move(arguments), terminal, out, err);
  return {exit_code, out.str(), err.str()};
}

}  // namespace dime

#endif  // DIME_TESTS_CLIENT_CLI_RUN_H_
