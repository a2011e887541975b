#include "index/build_info.h"

#include "absl/strings/str_cat.h"
#include "build_commit.h"

namespace dime {

absl::string_view BuildVersion() { return DIME_VERSION; }

std::string VersionText(absl::string_view program) {
  return absl::StrCat(program, " ", BuildVersion(), "\ncommit ", DIME_COMMIT, "\nbuild ",
                      DIME_BUILD, "\nlibraries ", DIME_LIBRARIES);
}

}  // namespace dime
