#include "model/dime/device.h"

#include <dlfcn.h>
#include <malloc.h>
#include <unistd.h>

#include <cstdlib>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "model/available_cores.h"

namespace dime {
namespace {

// Loads LibTorch's CUDA half once. Empty on success, else why not.
const std::string& LoadCuda() {
  static const std::string* const error = [] {
    if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) != nullptr) return new std::string();
    const char* reason = dlerror();
    return new std::string(reason == nullptr ? "unknown reason" : reason);
  }();
  return *error;
}

// Whether the machine has a CUDA driver at all; loading gigabytes to learn that it has not would
// slow every start on a CPU machine.
bool HasDriver() { return access("/dev/nvidiactl", F_OK) == 0 || access("/dev/dxg", F_OK) == 0; }

}  // namespace

absl::StatusOr<torch::Device> ParseDevice(const std::string& name) {
  if (name == "cpu") return torch::Device(torch::kCPU);
  if (name == "auto") {
    if (HasDriver() && LoadCuda().empty() && torch::cuda::is_available()) {
      return torch::Device(torch::kCUDA, 0);
    }
    return torch::Device(torch::kCPU);
  }
  absl::string_view number = name;
  if (!absl::ConsumePrefix(&number, "cuda")) {
    return absl::InvalidArgumentError(
        absl::StrCat("unknown device \"", name, "\"; use cpu, cuda, cuda:N or auto"));
  }
  int index = 0;
  if (!number.empty() && (!absl::ConsumePrefix(&number, ":") || !absl::SimpleAtoi(number, &index) ||
                          index < 0 || index > 255)) {
    return absl::InvalidArgumentError(
        absl::StrCat("unknown device \"", name, "\"; use cpu, cuda, cuda:N or auto"));
  }
  if (!HasDriver()) {
    return absl::FailedPreconditionError(
        absl::StrCat("device ", name, ": this machine has no CUDA driver; use --device cpu"));
  }
  if (!LoadCuda().empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("device ", name, ": LibTorch's CUDA libraries cannot be loaded (", LoadCuda(),
                     "); run scripts/setup.sh with DIME_CUDA=1, or use --device cpu"));
  }
  const int count = static_cast<int>(torch::cuda::device_count());
  if (index >= count) {
    return absl::FailedPreconditionError(absl::StrCat("device ", name, ": this machine has ", count,
                                                      " CUDA devices that can be used"));
  }
  return torch::Device(torch::kCUDA, static_cast<c10::DeviceIndex>(index));
}

void UseAvailableCores() {
  static const bool once = [] {
    if (std::getenv("OMP_NUM_THREADS") == nullptr && std::getenv("MKL_NUM_THREADS") == nullptr) {
      torch::set_num_threads(AvailableCores());
    }
    return true;
  }();
  static_cast<void>(once);
}

void KeepFreedMemory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
}

}  // namespace dime
