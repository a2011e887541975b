#ifndef DIME_MODEL_KERNELS_PROCESSOR_H_
#define DIME_MODEL_KERNELS_PROCESSOR_H_

#include "model/kernels/instructions.h"

namespace dime::kernels {

// Whether this processor has the instructions and the operating system lets the process use them.
// Asks both anew, and for leave where that takes asking; IsSupported() remembers.
bool ProcessorHas(Instructions instructions);

// Whether its vectors of bfloat16, if it has them, make twice as many products as those of floats:
// AMD's (measured on Zen 5).
bool DoublesBf16();

}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_PROCESSOR_H_
