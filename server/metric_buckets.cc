#include "server/metric_buckets.h"

namespace dime {

using Buckets = ::prometheus::Histogram::BucketBoundaries;

const Buckets& SecondsBuckets() {
  static const auto& buckets = *new Buckets{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                            0.25,   0.5,   1,      2.5,   5,    10,    30};
  return buckets;
}

const Buckets& RatioBuckets() {
  static const auto& buckets =
      *new Buckets{0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1};
  return buckets;
}

void Observe(prometheus::Histogram& histogram, absl::Duration duration) {
  histogram.Observe(absl::ToDoubleSeconds(duration));
}

}  // namespace dime
