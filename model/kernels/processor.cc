#include "model/kernels/processor.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace dime::kernels {

#if defined(__x86_64__)
namespace {

// AMX's registers are large, and Linux gives a process leave to use them only when it asks.
bool HasAmx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  constexpr unsigned kAmxBf16 = 1u << 22, kAmxTile = 1u << 24;
  if ((d & kAmxBf16) == 0 || (d & kAmxTile) == 0) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace

bool ProcessorHas(Instructions instructions) {
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  const bool avx512_bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
  switch (instructions) {
    case Instructions::kAmx:
      return avx512_bf16 && HasAmx();
    case Instructions::kAvx512Bf16:
      return avx512_bf16;
    case Instructions::kAvx512Vnni:
      return avx512 && __builtin_cpu_supports("avx512vnni");
    case Instructions::kAvx512:
      return avx512;
    case Instructions::kAvxVnni:
      return avx2 && __builtin_cpu_supports("avxvnni");
    case Instructions::kAvx2Int8:
    case Instructions::kAvx2:
      return avx2;
  }
  return false;
}

bool DoublesBf16() { return __builtin_cpu_is("amd"); }
#else
bool ProcessorHas(Instructions) { return false; }
bool DoublesBf16() { return false; }
#endif

}  // namespace dime::kernels
