#ifndef DIME_TESTS_FUZZ_FUZZ_TARGET_H_
#define DIME_TESTS_FUZZ_FUZZ_TARGET_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace dime {

// A way by which hostile bytes get into the programs. `run` takes any bytes, checks what it can
// about the outcome, and ends the process by FuzzRequire() where that is wrong; whatever else is
// wrong the sanitizers find. The same targets run briefly among the tests, by a fixed number of
// mutations, and for as long as one likes under libFuzzer (scripts/fuzz.sh).
struct FuzzTarget {
  std::string name;
  std::vector<std::string> seeds;  // whole and right, most of them, to be mutated
  void (*run)(absl::string_view bytes);
};

FuzzTarget AccessTarget();    // JSON Web Tokens, key sets, trace contexts
FuzzTarget CodecTarget();     // records and features out of the store
FuzzTarget FileTarget();      // safetensors, npy, bottom-up TSV
FuzzTarget FilterTarget();    // AIP-160 over payloads
FuzzTarget ItemTarget();      // messages of the upsert streams
FuzzTarget ManifestTarget();  // what galleries and models say of themselves
FuzzTarget PayloadTarget();   // JSON and CBOR
FuzzTarget SearchTarget();    // messages of searches
FuzzTarget TextTarget();      // lines, quoting, word pieces
FuzzTarget TokenTarget();     // page tokens
std::vector<FuzzTarget> AllFuzzTargets();

// Ends the process, naming what does not hold.
void FuzzRequire(bool holds, absl::string_view what);

// A file of the process's own with these bytes, in memory where the system has a place for that;
// the path is the same for the same name. `name` may have one folder in it.
std::string FuzzFile(const std::string& name, absl::string_view bytes);

}  // namespace dime

#endif  // DIME_TESTS_FUZZ_FUZZ_TARGET_H_
