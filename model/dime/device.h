#ifndef DIME_MODEL_DIME_DEVICE_H_
#define DIME_MODEL_DIME_DEVICE_H_

#include <torch/torch.h>

#include <string>

#include "absl/status/statusor.h"

namespace dime {

// The device that a --device flag names: "cpu", "cuda", "cuda:N" or "auto" (the first CUDA device
// if there is one, else the CPU). LibTorch's CUDA libraries are not linked but loaded here, the
// first time that a CUDA device is asked for, so that one binary serves machines with and without.
// INVALID_ARGUMENT for another word, FAILED_PRECONDITION if the device is not there. Thread-safe.
absl::StatusOr<torch::Device> ParseDevice(const std::string& name);

// Has LibTorch compute on AvailableCores() threads, unless OMP_NUM_THREADS or MKL_NUM_THREADS says
// on how many: by itself it would take every core of the machine, whatever the process's quota.
// Thread-safe; the first call counts.
void UseAvailableCores();

// Has the C library keep freed memory for the next tensors. By default it hands every block of some
// megabytes back to the kernel and faults it in again, zeroed, for the next operator: a third of a
// training step. For programs whose work is passes over such tensors; call it once, first in
// main().
void KeepFreedMemory();

}  // namespace dime

#endif  // DIME_MODEL_DIME_DEVICE_H_
