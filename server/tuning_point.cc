#include "server/tuning_point.h"

#include <algorithm>
#include <cmath>

namespace dime {

std::vector<TuningPoint> ParetoFront(std::vector<TuningPoint> points) {
  std::stable_sort(points.begin(), points.end(), [](const TuningPoint& a, const TuningPoint& b) {
    return a.cost != b.cost ? a.cost < b.cost : a.recall > b.recall;
  });
  std::vector<TuningPoint> front;
  for (const TuningPoint& point : points) {
    if (front.empty() || point.recall > front.back().recall) front.push_back(point);
  }
  return front;
}

std::optional<size_t> ChoosePoint(const std::vector<TuningPoint>& front, double target_recall,
                                  absl::Duration p99_limit) {
  for (size_t i = 0; i < front.size(); ++i) {
    if (front[i].recall >= target_recall && front[i].p99 <= p99_limit) return i;
  }
  return std::nullopt;
}

size_t ChooseBestEffort(const std::vector<TuningPoint>& front, absl::Duration p99_limit) {
  size_t best = 0;  // the cheapest comes first, and recall rises from there
  for (size_t i = 0; i < front.size(); ++i) {
    if (front[i].p99 <= p99_limit) best = i;
  }
  return best;
}

absl::Duration Quantile(std::vector<absl::Duration> values, double share) {
  const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(values.size())));
  const size_t place = std::clamp<size_t>(rank, 1, values.size()) - 1;
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(place), values.end());
  return values[place];
}

}  // namespace dime
