#ifndef DIME_SERVER_PROCESS_METRICS_H_
#define DIME_SERVER_PROCESS_METRICS_H_

#include <vector>

#include "prometheus/metric_family.h"

namespace dime {

// What Prometheus' own clients report of every process, by the customary names: start time, CPU
// time, resident memory. Read from the system at each call; what cannot be read is left out.
// Thread-safe.
std::vector<prometheus::MetricFamily> CollectProcessMetrics();

}  // namespace dime

#endif  // DIME_SERVER_PROCESS_METRICS_H_
