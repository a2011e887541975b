#ifndef DIME_MODEL_RANDOM_STREAM_H_
#define DIME_MODEL_RANDOM_STREAM_H_

#include <cstdint>
#include <random>
#include <utility>
#include <vector>

namespace dime {

// A stream of random numbers of its own for each use, the same on every machine: std::mt19937_64 is
// fixed by the standard, its distributions are not.
inline std::mt19937_64 MakeStream(uint64_t seed, uint64_t purpose, uint64_t number) {
  std::seed_seq sequence{seed & 0xffffffff, seed >> 32, purpose, number & 0xffffffff, number >> 32};
  return std::mt19937_64(sequence);
}

// Uniform in [0, bound). The bias of the remainder is under 2^-40 for any number of items here.
inline int64_t Below(std::mt19937_64& stream, int64_t bound) {
  return static_cast<int64_t>(stream() % static_cast<uint64_t>(bound));
}

inline void Shuffle(std::vector<int64_t>& values, std::mt19937_64& stream) {
  for (int64_t i = static_cast<int64_t>(values.size()) - 1; i > 0; --i) {
    std::swap(values[i], values[Below(stream, i + 1)]);
  }
}

}  // namespace dime

#endif  // DIME_MODEL_RANDOM_STREAM_H_
