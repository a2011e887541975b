#ifndef DIME_CLIENT_COMMAND_OUTPUT_H_
#define DIME_CLIENT_COMMAND_OUTPUT_H_

#include <ostream>

#include "client/display_text.h"

namespace dime {

// How the results of commands are shown.
struct CommandOutput {
  Terminal terminal;
  bool json = false;
  std::ostream& err;  // for single items, or calls, that failed
};

}  // namespace dime

#endif  // DIME_CLIENT_COMMAND_OUTPUT_H_
