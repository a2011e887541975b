#ifndef DIME_SERVER_PROGRAM_ERROR_H_
#define DIME_SERVER_PROGRAM_ERROR_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace dime {

// How the programs end after an error: one line on stderr, and an exit code by kind of failure,
// where the kinds that the client `dime` also knows have the same numbers.
enum class ProgramExit : int {
  kOk = 0,
  kOther = 1,               // a fault of the program, or of the system under it
  kUsage = 2,               // the command line is wrong
  kInvalidArgument = 3,     // an option's value or a file is wrong or damaged
  kNotFound = 4,            // a file or directory is not there
  kUnavailable = 5,         // an address cannot be listened on
  kFailedPrecondition = 8,  // model, gallery or device do not fit together
  kAlreadyExists = 9,       // the output is there already
  kTargetNotMet = 10,       // dime_tune: no setting meets the target
};

ProgramExit ProgramExitFor(absl::StatusCode code);

// Writes "PROGRAM: message" to stderr, and gives the exit code.
int ReportError(absl::string_view program, const absl::Status& error);

// For --help.
inline constexpr char kExitCodesHelp[] =
    "Exit codes: 0 success; 1 fault of the program or the system; 2 wrong command line; 3 wrong or "
    "damaged file or value; 4 file not found; 5 address cannot be listened on; 8 model, gallery or "
    "device do not fit; 9 output exists already.";

}  // namespace dime

#endif  // DIME_SERVER_PROGRAM_ERROR_H_
