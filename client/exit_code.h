#ifndef DIME_CLIENT_EXIT_CODE_H_
#define DIME_CLIENT_EXIT_CODE_H_

#include "absl/status/status.h"

namespace dime {

// What the program `dime` ends with, by kind of failure, so that scripts can tell what to do next.
// Part of its interface: numbers are never given another meaning.
enum class ExitCode : int {
  kOk = 0,
  kInternal = 1,           // a fault of server or client, and whatever has no number of its own
  kUsage = 2,              // the command line is wrong; nothing was sent
  kInvalidArgument = 3,    // the request is wrong
  kNotFound = 4,           // no such image or file; or the gallery cannot answer
  kUnavailable = 5,        // no server answers, or it is starting or draining
  kDeadlineExceeded = 6,   // no answer in time
  kResourceExhausted = 7,  // the server is full, or a message is too large
  kAlreadyExists = 9,      // what was to be made is there; 8 and 10 are the server programs' own
  kAccessDenied = 11,      // the server asks for a token, or for one of another role
};

ExitCode ExitCodeFor(absl::StatusCode code);

}  // namespace dime

#endif  // DIME_CLIENT_EXIT_CODE_H_
