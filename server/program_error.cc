#include "server/program_error.h"

#include <iostream>

namespace dime {

ProgramExit ProgramExitFor(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk:
      return ProgramExit::kOk;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kDataLoss:
      return ProgramExit::kInvalidArgument;
    case absl::StatusCode::kNotFound:
      return ProgramExit::kNotFound;
    case absl::StatusCode::kUnavailable:
      return ProgramExit::kUnavailable;
    case absl::StatusCode::kFailedPrecondition:
      return ProgramExit::kFailedPrecondition;
    case absl::StatusCode::kAlreadyExists:
      return ProgramExit::kAlreadyExists;
    default:
      return ProgramExit::kOther;
  }
}

int ReportError(absl::string_view program, const absl::Status& error) {
  std::cerr << program << ": " << error.message() << std::endl;
  return static_cast<int>(ProgramExitFor(error.code()));
}

}  // namespace dime
