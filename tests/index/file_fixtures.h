#ifndef DIME_TESTS_INDEX_FILE_FIXTURES_H_
#define DIME_TESTS_INDEX_FILE_FIXTURES_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace dime {

// A fresh, empty directory under testing::TempDir(), named after the running test.
std::string FreshDirectory();

void WriteFile(const std::string& path, absl::string_view content);
std::string ReadFile(const std::string& path);
bool Exists(const std::string& path);

// Calls `check` with damaged forms of `content`: cut off at, and with a byte changed in three ways
// at each of about `places` places (every byte, if there are no more). `what` says for a message
// what was done.
void ForEachDamage(
    const std::string& content, size_t places,
    const std::function<void(const std::string& damaged, const std::string& what)>& check);

// `count` unit vectors of `dim` floats, the same for the same seed on any machine.
std::vector<float> UnitVectors(int64_t count, int dim, uint32_t seed);

// A folder of reference data beside the source tree, which may be absent.
std::string SharedPath(absl::string_view path);

}  // namespace dime

#endif  // DIME_TESTS_INDEX_FILE_FIXTURES_H_
