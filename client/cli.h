#ifndef DIME_CLIENT_CLI_H_
#define DIME_CLIENT_CLI_H_

#include <ostream>
#include <string>
#include <vector>

#include "client/display_text.h"

namespace dime {

// The whole of the program `dime`: parses the arguments (without the program's name), makes the one
// call that they ask for, writes the result to `out` or the error to `err`, and returns the exit
// code (an ExitCode). `terminal` says what `out` is. Reads the environment variable DIME_ADDRESS.
// Thread-safe.
int RunCli(std::vector<std::string> arguments, const Terminal& terminal, std::ostream& out,
           std::ostream& err);

}  // namespace dime

#endif  // DIME_CLIENT_CLI_H_
