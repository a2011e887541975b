#include "model/kernels/instructions.h"

#include "model/kernels/processor.h"

namespace dime::kernels {

const char* InstructionsName(Instructions instructions) {
  switch (instructions) {
    case Instructions::kAmx:
      return "amx";
    case Instructions::kAvx512Bf16:
      return "avx512_bf16";
    case Instructions::kAvx512:
      return "avx512";
    case Instructions::kAvx2:
      return "avx2";
  }
  return "unknown";
}

std::array<Instructions, 4> PreferredInstructions() {
  if (DoublesBf16()) return kAllInstructions;
  return {Instructions::kAmx, Instructions::kAvx512, Instructions::kAvx512Bf16,
          Instructions::kAvx2};
}

bool MultiplyInFloat32(Instructions instructions) {
  return instructions == Instructions::kAvx512 || instructions == Instructions::kAvx2;
}

bool IsSupported(Instructions instructions) {
  // Asked once: leave to use AMX is the process's.
  static const bool supported[] = {
      ProcessorHas(Instructions::kAmx), ProcessorHas(Instructions::kAvx512Bf16),
      ProcessorHas(Instructions::kAvx512), ProcessorHas(Instructions::kAvx2)};
  return supported[static_cast<int>(instructions)];
}

namespace {

std::optional<Instructions> Supported(bool in_float32) {
  for (const Instructions instructions : kAllInstructions) {
    if (MultiplyInFloat32(instructions) == in_float32 && IsSupported(instructions)) {
      return instructions;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<Instructions> SupportedFloat32() { return Supported(/*in_float32=*/true); }
std::optional<Instructions> SupportedBf16() { return Supported(/*in_float32=*/false); }

}  // namespace dime::kernels
