#include "server/load_reporter.h"

#include <algorithm>
#include <utility>

#include "server/call_report.h"
#include "xds/data/orca/v3/orca_load_report.pb.h"

namespace dime {

LoadReporter::LoadReporter(Options options)
    : options_(std::move(options)), start_(options_.now()), used_(options_.usage()) {}

std::string LoadReporter::CallEnded(absl::StatusCode code) {
  const absl::Time now = options_.now();
  std::lock_guard<std::mutex> lock(mutex_);
  ++calls_;
  if (IsServerFault(code)) ++faults_;
  const absl::Duration passed = now - start_;
  if (passed < options_.window) return report_;

  const Usage used = options_.usage();
  const auto share = [passed](absl::Duration time, double of) {
    return std::clamp(absl::FDivDuration(time, passed) / of, 0.0, 1.0);
  };
  const double seconds = absl::ToDoubleSeconds(passed);
  xds::data::orca::v3::OrcaLoadReport report;
  report.set_cpu_utilization(share(used.cpu - used_.cpu, options_.cores));
  // On a CPU the reranker's time is the cores'; on a GPU it may be busy while they are not.
  report.set_application_utilization(
      std::max(report.cpu_utilization(), share(used.launches - used_.launches, 1)));
  report.set_rps_fractional(static_cast<double>(calls_) / seconds);
  report.set_eps(static_cast<double>(faults_) / seconds);
  (*report.mutable_named_metrics())["queue_seconds"] = absl::ToDoubleSeconds(used.queue);
  report_ = report.SerializeAsString();
  start_ = now;
  used_ = used;
  calls_ = 0;
  faults_ = 0;
  return report_;
}

}  // namespace dime
