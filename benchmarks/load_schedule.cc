#include "benchmarks/load_schedule.h"

#include <cmath>
#include <random>

namespace dime {

std::vector<absl::Duration> PoissonArrivals(double rate, absl::Duration length, uint64_t seed) {
  std::vector<absl::Duration> arrivals;
  if (rate <= 0) return arrivals;
  // Its numbers are the standard's, which those of its distributions are not.
  std::mt19937_64 random(seed);
  double seconds = 0;
  while (true) {
    const double uniform = static_cast<double>(random() >> 11) * 0x1.0p-53;  // [0, 1)
    seconds -= std::log1p(-uniform) / rate;
    if (seconds >= absl::ToDoubleSeconds(length)) return arrivals;
    arrivals.push_back(absl::Seconds(seconds));
  }
}

}  // namespace dime
