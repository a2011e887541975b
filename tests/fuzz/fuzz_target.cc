#include "tests/fuzz/fuzz_target.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace dime {
namespace {

// Gone when the process ends.
struct Folder {
  Folder() {
    const std::filesystem::path shared = "/dev/shm";
    std::error_code error;
    const std::filesystem::path base = std::filesystem::is_directory(shared, error)
                                           ? shared
                                           : std::filesystem::temp_directory_path();
    path = base / absl::StrCat("dime_fuzz_", getpid());
    std::filesystem::create_directories(path);
  }
  ~Folder() {
    std::error_code error;
    std::filesystem::remove_all(path, error);
  }
  std::filesystem::path path;
};

}  // namespace

std::vector<FuzzTarget> AllFuzzTargets() {
  return {AccessTarget(),   CodecTarget(),   FileTarget(),   FilterTarget(), ItemTarget(),
          ManifestTarget(), PayloadTarget(), SearchTarget(), TextTarget(),   TokenTarget()};
}

void FuzzRequire(bool holds, absl::string_view what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", std::string(what).c_str());
  std::abort();
}

std::string FuzzFile(const std::string& name, absl::string_view bytes) {
  static Folder folder;
  const std::filesystem::path path = folder.path / name;
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return path.string();
}

}  // namespace dime
