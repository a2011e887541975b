#include "server/rate_limiter.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/error_details.h"

namespace dime {

RateLimiter::RateLimiter(Options options)
    : options_(std::move(options)), capacity_(std::max(1.0, options_.calls_per_second)) {}

absl::Status RateLimiter::Take(const std::string& client) {
  const absl::Time now = options_.now();
  std::lock_guard<std::mutex> lock(mutex_);
  Bucket& bucket = Find(client, now);
  if (bucket.calls >= 1) {
    bucket.calls -= 1;
    return absl::OkStatus();
  }
  return QuotaError(
      client,
      absl::StrCat("more than ", options_.calls_per_second, " calls a second by one client"),
      absl::Seconds((1 - bucket.calls) / options_.calls_per_second));
}

void RateLimiter::Charge(const std::string& client, int calls) {
  const absl::Time now = options_.now();
  std::lock_guard<std::mutex> lock(mutex_);
  Find(client, now).calls -= calls;
}

RateLimiter::Bucket& RateLimiter::Find(const std::string& client, absl::Time now) {
  if (buckets_.size() >= options_.max_clients && buckets_.count(client) == 0) Forget(now);
  Bucket& bucket =
      buckets_.try_emplace(client, Bucket{.calls = capacity_, .time = now}).first->second;
  bucket = {.calls = CallsAt(bucket, now), .time = now};
  return bucket;
}

double RateLimiter::CallsAt(const Bucket& bucket, absl::Time now) const {
  const double seconds = std::max(0.0, absl::ToDoubleSeconds(now - bucket.time));
  return std::min(capacity_, bucket.calls + seconds * options_.calls_per_second);
}

void RateLimiter::Forget(absl::Time now) {
  std::erase_if(buckets_,
                [&](const auto& entry) { return CallsAt(entry.second, now) >= capacity_; });
  if (buckets_.size() >= options_.max_clients) buckets_.clear();
}

}  // namespace dime
