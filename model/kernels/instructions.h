#ifndef DIME_MODEL_KERNELS_INSTRUCTIONS_H_
#define DIME_MODEL_KERNELS_INSTRUCTIONS_H_

#include <array>
#include <optional>

namespace dime::kernels {

// What multiplies matrices.
enum class Instructions {
  kAmx,         // bfloat16, tiles of 16 x 32 (AMX-BF16), with AVX-512 around them
  kAvx512Bf16,  // bfloat16, vectors of 32 (AVX512-BF16)
  kAvx512Vnni,  // bytes in vectors of 64 (AVX512-VNNI) in linear layers, else float32
  kAvx512,      // float32, vectors of 16 (AVX-512)
  kAvxVnni,     // bytes in vectors of 32 (AVX-VNNI) in linear layers, else float32
  kAvx2,        // float32, vectors of 8 (AVX2 with FMA)
  kAvx2Int8,    // bytes in vectors of 32 (AVX2) in linear layers, else float32
};
inline constexpr std::array kAllInstructions = {
    Instructions::kAmx,     Instructions::kAvx512Bf16, Instructions::kAvx512Vnni,
    Instructions::kAvx512,  Instructions::kAvxVnni,    Instructions::kAvx2,
    Instructions::kAvx2Int8};
// All of them, in the order in which scoring prefers them on this processor, supported or not: as
// above where DoublesBf16() (processor.h); elsewhere vectors of bytes and of floats come before
// those of bfloat16, as they are the faster ones on the Intel processors that were measured. What
// rounding costs in recall was measured as well (benchmarks/README.md). AVX2's bytes come after its
// floats: they were not measured on a processor that has AVX2 alone.
std::array<Instructions, kAllInstructions.size()> PreferredInstructions();

const char* InstructionsName(Instructions instructions);  // such as "avx512_bf16"

// What linear layers, most of the work, are multiplied in, or most of them.
enum class Operands { kInt8, kBf16, kFloat32 };
Operands OperandsOf(Instructions instructions);

// Whether this processor has them and the operating system lets the process use them.
bool IsSupported(Instructions instructions);
// The fastest of those that multiply in float32, and of those that do in bfloat16, if any is
// supported.
std::optional<Instructions> SupportedFloat32();
std::optional<Instructions> SupportedBf16();

}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_INSTRUCTIONS_H_
