#include "model/kernels/instructions.h"

#include "model/kernels/processor.h"

namespace dime::kernels {

const char* InstructionsName(Instructions instructions) {
  switch (instructions) {
    case Instructions::kAmx:
      return "amx";
    case Instructions::kAvx512Bf16:
      return "avx512_bf16";
    case Instructions::kAvx512Vnni:
      return "avx512_vnni";
    case Instructions::kAvx512:
      return "avx512";
    case Instructions::kAvxVnni:
      return "avx_vnni";
    case Instructions::kAvx2Int8:
      return "avx2_int8";
    case Instructions::kAvx2:
      return "avx2";
  }
  return "unknown";
}

std::array<Instructions, kAllInstructions.size()> PreferredInstructions() {
  if (DoublesBf16()) return kAllInstructions;
  return {Instructions::kAmx,        Instructions::kAvx512Vnni, Instructions::kAvx512,
          Instructions::kAvx512Bf16, Instructions::kAvxVnni,    Instructions::kAvx2,
          Instructions::kAvx2Int8};
}

Operands OperandsOf(Instructions instructions) {
  switch (instructions) {
    case Instructions::kAmx:
    case Instructions::kAvx512Bf16:
      return Operands::kBf16;
    case Instructions::kAvx512Vnni:
    case Instructions::kAvxVnni:
    case Instructions::kAvx2Int8:
      return Operands::kInt8;
    case Instructions::kAvx512:
    case Instructions::kAvx2:
      break;
  }
  return Operands::kFloat32;
}

bool IsSupported(Instructions instructions) {
  // Asked once: leave to use AMX is the process's.
  static const bool supported[] = {
      ProcessorHas(Instructions::kAmx),        ProcessorHas(Instructions::kAvx512Bf16),
      ProcessorHas(Instructions::kAvx512Vnni), ProcessorHas(Instructions::kAvx512),
      ProcessorHas(Instructions::kAvxVnni),    ProcessorHas(Instructions::kAvx2),
      ProcessorHas(Instructions::kAvx2Int8)};
  return supported[static_cast<int>(instructions)];
}

namespace {

std::optional<Instructions> Supported(Operands operands) {
  for (const Instructions instructions : kAllInstructions) {
    if (OperandsOf(instructions) == operands && IsSupported(instructions)) {
      return instructions;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<Instructions> SupportedFloat32() { return Supported(Operands::kFloat32); }
std::optional<Instructions> SupportedBf16() { return Supported(Operands::kBf16); }

}  // namespace dime::kernels
