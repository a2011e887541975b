#ifndef DIME_BENCHMARKS_LOAD_SCHEDULE_H_
#define DIME_BENCHMARKS_LOAD_SCHEDULE_H_

#include <cstdint>
#include <vector>

#include "absl/time/time.h"

namespace dime {

// When the calls of an open loop are due, since its start: Poisson arrivals of `rate` a second on
// average, over `length`, ascending. The same for the same seed on any machine.
std::vector<absl::Duration> PoissonArrivals(double rate, absl::Duration length, uint64_t seed);

}  // namespace dime

#endif  // DIME_BENCHMARKS_LOAD_SCHEDULE_H_
