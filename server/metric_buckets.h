#ifndef DIME_SERVER_METRIC_BUCKETS_H_
#define DIME_SERVER_METRIC_BUCKETS_H_

#include "absl/time/time.h"
#include "prometheus/histogram.h"

namespace dime {

// What histograms of several kinds of metrics share.

// From the quickest answer on a GPU to what nobody waits for any more.
const prometheus::Histogram::BucketBoundaries& SecondsBuckets();
// Shares, from none to all.
const prometheus::Histogram::BucketBoundaries& RatioBuckets();

// In seconds.
void Observe(prometheus::Histogram& histogram, absl::Duration duration);

}  // namespace dime

#endif  // DIME_SERVER_METRIC_BUCKETS_H_
