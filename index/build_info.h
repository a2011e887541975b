#ifndef DIME_INDEX_BUILD_INFO_H_
#define DIME_INDEX_BUILD_INFO_H_

#include <string>

#include "absl/strings/string_view.h"

namespace dime {

// What was built, out of what. All functions are pure.

// The project's version: "0.1.0".
absl::string_view BuildVersion();

// What a program says to --version: its name and version, the commit that it was built from
// ("-dirty" where that had changes), compiler and kind of build, and the libraries it was built
// with; a line each.
std::string VersionText(absl::string_view program);

}  // namespace dime

#endif  // DIME_INDEX_BUILD_INFO_H_
