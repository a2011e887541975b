#include "server/process_metrics.h"

#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

namespace dime {
namespace {

prometheus::MetricFamily Family(const char* name, const char* help, prometheus::MetricType type,
                                double value) {
  prometheus::ClientMetric metric;
  if (type == prometheus::MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
  return {.name = name, .help = help, .type = type, .metric = {std::move(metric)}};
}

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

double ClockSeconds(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// Field `number` (from 1, as proc(5) counts) of /proc/self/stat, for fields after the command.
std::optional<double> StatField(int number) {
  std::ifstream file("/proc/self/stat");
  const std::string line{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const size_t command_end = line.rfind(')');  // the command may itself hold spaces and brackets
  if (command_end == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(command_end + 1));
  std::string field;
  for (int i = 3; i <= number; ++i) fields >> field;
  if (!fields) return std::nullopt;
  return std::strtod(field.c_str(), nullptr);
}

}  // namespace

std::vector<prometheus::MetricFamily> CollectProcessMetrics() {
  std::vector<prometheus::MetricFamily> families;
  if (const auto start_ticks = StatField(22)) {  // since the machine was started
    const double age =
        ClockSeconds(CLOCK_BOOTTIME) - *start_ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
    families.push_back(Family("process_start_time_seconds",
                              "When the process was started, in seconds since the epoch.",
                              prometheus::MetricType::Gauge, ClockSeconds(CLOCK_REALTIME) - age));
  }
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    families.push_back(Family("process_cpu_seconds_total", "CPU time spent, user and system.",
                              prometheus::MetricType::Counter,
                              Seconds(usage.ru_utime) + Seconds(usage.ru_stime)));
  }
  if (const auto pages = StatField(24)) {
    families.push_back(Family("process_resident_memory_bytes", "Resident memory.",
                              prometheus::MetricType::Gauge,
                              *pages * static_cast<double>(sysconf(_SC_PAGESIZE))));
  }
  return families;
}

}  // namespace dime
