#include "tests/index/file_fixtures.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "absl/strings/str_cat.h"

namespace dime {

std::string FreshDirectory() {
  const testing::TestInfo& test = *testing::UnitTest::GetInstance()->current_test_info();
  const std::string path =
      absl::StrCat(testing::TempDir(), "dime_", test.test_suite_name(), "_", test.name());
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  return path;
}

void WriteFile(const std::string& path, absl::string_view content) {
  std::ofstream stream(path, std::ios::binary | std::ios::trunc);
  stream.write(content.data(), static_cast<std::streamsize>(content.size()));
  ASSERT_TRUE(stream.flush()) << path;
}

std::string ReadFile(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  EXPECT_TRUE(stream) << path;
  return std::string(std::istreambuf_iterator<char>(stream), {});
}

bool Exists(const std::string& path) { return std::filesystem::exists(path); }

void ForEachDamage(
    const std::string& content, size_t places,
    const std::function<void(const std::string& damaged, const std::string& what)>& check) {
  const size_t stride = std::max<size_t>(1, content.size() / places);
  for (size_t i = 0; i < content.size(); i += stride) {
    check(content.substr(0, i), absl::StrCat("cut off after ", i, " bytes"));
    for (const int mask : {0x01, 0x80, 0xff}) {
      std::string changed = content;
      changed[i] = static_cast<char>(changed[i] ^ mask);
      check(changed, absl::StrCat("byte ", i, " changed by ", mask));
    }
  }
  check(content + '\0', "a byte too many");
}

std::vector<float> UnitVectors(int64_t count, int dim, uint32_t seed) {
  std::mt19937 generator(seed);  // whose numbers the standard fixes, unlike its distributions'
  std::vector<float> vectors(static_cast<size_t>(count * dim));
  for (float& value : vectors) {
    value = static_cast<float>(generator()) / 2147483648.0f - 1.0f;
  }
  for (int64_t row = 0; row < count; ++row) {
    float* const vector = vectors.data() + row * dim;
    double squares = 0;
    for (int i = 0; i < dim; ++i) squares += static_cast<double>(vector[i]) * vector[i];
    for (int i = 0; i < dim; ++i) vector[i] = static_cast<float>(vector[i] / std::sqrt(squares));
  }
  return vectors;
}

std::string SharedPath(absl::string_view path) {
  return absl::StrCat(DIME_SOURCE_DIR, "/../shared/", path);
}

}  // namespace dime
