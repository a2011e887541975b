#ifndef DIME_TESTS_FUZZ_MUTATOR_H_
#define DIME_TESTS_FUZZ_MUTATOR_H_

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace dime {

// Makes bytes out of seeds, the same for the same number: one to eight small changes (a bit, a
// byte, an interesting number, something inserted, left out, doubled or taken from another seed).
// Blind to what the program does with them; libFuzzer is not. Not thread-safe.
class Mutator {
 public:
  Mutator(std::vector<std::string> seeds, uint32_t number)
      : seeds_(std::move(seeds)), random_(number) {}

  std::string Next();

 private:
  size_t Below(size_t bound) { return bound == 0 ? 0 : random_() % bound; }
  void Change(std::string& bytes);

  const std::vector<std::string> seeds_;
  std::mt19937 random_;
};

}  // namespace dime

#endif  // DIME_TESTS_FUZZ_MUTATOR_H_
