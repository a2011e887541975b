#ifndef DIME_EXAMPLES_SCENES_RANDOM_STREAM_H_
#define DIME_EXAMPLES_SCENES_RANDOM_STREAM_H_

#include <cstdint>
#include <initializer_list>
#include <random>
#include <utility>
#include <vector>

namespace dime::scenes {

// A reproducible stream of random choices, named by a key such as {seed, split, pair}: equal keys
// give equal streams on every platform, and different keys give unrelated ones, so that a scene
// depends on its own key and not on what was drawn before it. The generator is the standard's
// mt19937_64, whose numbers are prescribed; the distributions are our own, because those of the
// standard differ among libraries. Not thread-safe.
class RandomStream {
 public:
  explicit RandomStream(std::initializer_list<uint64_t> key);

  uint64_t Next() { return engine_(); }
  // Uniform in [0, bound); `bound` must be positive.
  int Below(int bound);
  // Uniform in [0, 1) and [low, high).
  double Real();
  double Between(double low, double high) { return low + (high - low) * Real(); }
  bool Chance(double probability) { return Real() < probability; }
  // An index drawn in proportion to the (non-negative, not all zero) weights.
  int Weighted(std::initializer_list<double> weights);

  template <typename T>
  const T& Pick(const std::vector<T>& choices) {
    return choices[Below(static_cast<int>(choices.size()))];
  }
  template <typename T>
  void Shuffle(std::vector<T>& items) {
    for (int i = static_cast<int>(items.size()) - 1; i > 0; --i) {
      std::swap(items[i], items[Below(i + 1)]);
    }
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace dime::scenes

#endif  // DIME_EXAMPLES_SCENES_RANDOM_STREAM_H_
