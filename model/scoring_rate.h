#ifndef DIME_MODEL_SCORING_RATE_H_
#define DIME_MODEL_SCORING_RATE_H_

#include <cstdint>

#include "absl/time/time.h"

namespace dime {

// How fast a scorer has been lately: a mean over its launches by their own time, in which those of
// the last seconds of work count most, so that it follows a machine that gets slower or faster
// under load. Costs are pairs times the directions that score them. Not thread-safe.
class ScoringRate {
 public:
  // A launch of this cost took so long.
  void Add(int64_t cost, absl::Duration took);
  // Cost per second; 0 while nothing is known.
  double per_second() const { return seconds_ > 0 ? cost_ / seconds_ : 0; }

 private:
  // Weighted sums over the launches.
  double cost_ = 0;
  double seconds_ = 0;
};

}  // namespace dime

#endif  // DIME_MODEL_SCORING_RATE_H_
