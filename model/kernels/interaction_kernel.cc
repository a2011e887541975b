#include "model/kernels/interaction_kernel.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace dime::kernels {

// In interaction_kernel_avx512.cc, the one unit that is compiled for these instructions.
std::unique_ptr<InteractionKernel> CreateAvx512Kernel(const InteractionShape& shape,
                                                      const InteractionWeights& weights,
                                                      Instructions instructions);

namespace {

#if defined(__x86_64__)
bool HasAvx512Bf16() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bf16");
}

// AMX's registers are large, and Linux gives a process leave to use them only when it asks.
bool HasAmx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  constexpr unsigned kAmxBf16 = 1u << 22, kAmxTile = 1u << 24;
  if ((d & kAmxBf16) == 0 || (d & kAmxTile) == 0) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif

}  // namespace

const char* InstructionsName(Instructions instructions) {
  return instructions == Instructions::kAmx ? "amx" : "avx512_bf16";
}

bool IsSupported(Instructions instructions) {
#if defined(__x86_64__)
  static const bool has_avx512 = HasAvx512Bf16();
  static const bool has_amx = has_avx512 && HasAmx();
  return instructions == Instructions::kAmx ? has_amx : has_avx512;
#else
  return false;
#endif
}

std::unique_ptr<InteractionKernel> InteractionKernel::Create(const InteractionShape& shape,
                                                             const InteractionWeights& weights,
                                                             Instructions instructions) {
#if defined(__x86_64__)
  return CreateAvx512Kernel(shape, weights, instructions);
#else
  return nullptr;  // not reached: nothing is supported
#endif
}

}  // namespace dime::kernels
