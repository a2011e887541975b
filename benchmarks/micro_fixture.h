#ifndef DIME_BENCHMARKS_MICRO_FIXTURE_H_
#define DIME_BENCHMARKS_MICRO_FIXTURE_H_

#include <cstdint>
#include <functional>
#include <string>

#include "index/features.h"
#include "model/model_info.h"

namespace dime {

// Items of a model's sizes with random unit rows; captions have all their words. The same for the
// same arguments. `seed` tells sets of items apart.
EncodedItems RandomItems(const ModelInfo& model, Modality modality, int64_t count, uint64_t seed);

// A caption of `words` words of the sample world, which differs with `number`.
std::string MicroCaption(int words, int64_t number);

// The body of a Google Benchmark program's main(): takes that library's flags and --model, hands
// the model's directory to `register_all`, which registers the benchmarks, and runs them. Gives the
// exit code.
int RunMicroBenchmarks(int argc, char** argv, const char* description,
                       const std::function<void(const std::string& model)>& register_all);

}  // namespace dime

#endif  // DIME_BENCHMARKS_MICRO_FIXTURE_H_
