#include "examples/scenes/random_stream.h"

namespace dime::scenes {
namespace {

// The finaliser of SplitMix64: spreads every bit of its input over the whole word.
uint64_t Mix(uint64_t value) {
  value += 0x9E3779B97F4A7C15ULL;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ULL;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBULL;
  return value ^ (value >> 31);
}

uint64_t SeedFrom(std::initializer_list<uint64_t> key) {
  uint64_t seed = 0;
  for (uint64_t part : key) seed = Mix(seed ^ Mix(part));
  return seed;
}

}  // namespace

RandomStream::RandomStream(std::initializer_list<uint64_t> key) : engine_(SeedFrom(key)) {}

int RandomStream::Below(int bound) {
  // The upper half of a 32 x 32 bit product; its bias, bound / 2^32, is of no account here.
  return static_cast<int>(((engine_() >> 32) * static_cast<uint64_t>(bound)) >> 32);
}

double RandomStream::Real() { return static_cast<double>(engine_() >> 11) * 0x1.0p-53; }

int RandomStream::Weighted(std::initializer_list<double> weights) {
  double total = 0;
  for (double weight : weights) total += weight;
  double left = Real() * total;
  int index = 0;
  int last_possible = 0;
  for (double weight : weights) {
    if (weight > 0) {
      last_possible = index;
      if (left < weight) return index;
      left -= weight;
    }
    ++index;
  }
  return last_possible;  // reached only by rounding
}

}  // namespace dime::scenes
