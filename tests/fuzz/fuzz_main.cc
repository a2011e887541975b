// libFuzzer's entry: dime_fuzz --target=NAME [--write-seeds=FOLDER] and libFuzzer's own flags.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tests/fuzz/fuzz_target.h"

namespace {

dime::FuzzTarget* chosen = nullptr;

}  // namespace

// libFuzzer leaves flags that begin with two dashes to the program.
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  absl::string_view name, seeds;
  for (int k = 1; k < *argc; ++k) {
    absl::string_view flag = (*argv)[k];
    if (absl::ConsumePrefix(&flag, "--target=")) name = flag;
    if (absl::ConsumePrefix(&flag, "--write-seeds=")) seeds = flag;
  }
  std::string names;
  for (dime::FuzzTarget& target : dime::AllFuzzTargets()) {
    absl::StrAppend(&names, " ", target.name);
    if (target.name == name) chosen = new dime::FuzzTarget(std::move(target));
  }
  if (chosen == nullptr) {
    std::fprintf(stderr, "--target must be one of:%s\n", names.c_str());
    std::exit(2);
  }
  for (size_t k = 0; !seeds.empty() && k < chosen->seeds.size(); ++k) {
    std::ofstream(absl::StrCat(seeds, "/seed-", k), std::ios::binary) << chosen->seeds[k];
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  chosen->run(absl::string_view(reinterpret_cast<const char*>(bytes), size));
  return 0;
}
