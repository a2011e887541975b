#include "server/slow_calls.h"

#include <utility>

#include "grpcpp/support/slice.h"

namespace dime {

bool SlowCalls::IsSlow(const CallReport& call) const {
  if (options_.capacity == 0) return false;
  return call.duration >= options_.threshold || call.code == absl::StatusCode::kDeadlineExceeded;
}

void SlowCalls::Keep(CallReport call) {
  // A copy of the bytes: gRPC's own may be a small part of a large buffer, which would stay.
  grpc::ByteBuffer own;
  grpc::Slice bytes;
  if (static_cast<int64_t>(call.request.Length()) <= options_.max_request_bytes &&
      call.request.DumpToSingleSlice(&bytes).ok()) {
    const grpc::Slice copy(bytes.begin(), bytes.size());
    own = grpc::ByteBuffer(&copy, 1);
  }
  call.request_bytes = static_cast<int64_t>(call.request.Length());
  call.request.Swap(&own);
  auto kept = std::make_shared<const CallReport>(std::move(call));
  std::lock_guard<std::mutex> lock(mutex_);
  bytes_ += static_cast<int64_t>(kept->request.Length());
  calls_.push_front(std::move(kept));
  // What goes is freed with the lock held, which is held by slow calls alone.
  while (static_cast<int>(calls_.size()) > options_.capacity || bytes_ > options_.max_bytes) {
    bytes_ -= static_cast<int64_t>(calls_.back()->request.Length());
    calls_.pop_back();
  }
}

std::vector<std::shared_ptr<const CallReport>> SlowCalls::List() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return {calls_.begin(), calls_.end()};
}

}  // namespace dime
