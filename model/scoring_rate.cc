#include "model/scoring_rate.h"

#include <cmath>

namespace dime {
namespace {

// Seconds of scoring after which a launch counts 1/e.
constexpr double kMemorySeconds = 2;

}  // namespace

void ScoringRate::Add(int64_t cost, absl::Duration took) {
  const double seconds = absl::ToDoubleSeconds(took);
  if (!(seconds > 0) || cost <= 0) return;
  const double kept = std::exp(-seconds / kMemorySeconds);
  cost_ = cost_ * kept + static_cast<double>(cost);
  seconds_ = seconds_ * kept + seconds;
}

}  // namespace dime
